"""Kaiko: https://docs.kaiko.com."""
