# Your Airbyte, your destination, your keys: `terraform plan` asks for what has no default.

variable "server_url" {
  description = "The API of your Airbyte, such as https://airbyte.example.com/api/public/v1"
  type        = string
}

variable "client_id" {
  type = string
}

variable "client_secret" {
  type      = string
  sensitive = true
}

variable "workspace_id" {
  type = string
}

variable "destination_id" {
  description = "Where the rows go: a destination that exists already"
  type        = string
}

variable "image" {
  description = "The connector's image, in a registry that the cluster can pull from"
  type        = string
  default     = "registry.example.com/source-liquidations"
}

variable "coin_metrics_api_key" {
  type      = string
  sensitive = true
}

variable "kaiko_api_key" {
  type      = string
  sensitive = true
}

variable "kwery_api_key" {
  type      = string
  sensitive = true
}

variable "kiyotaka_api_key" {
  type      = string
  sensitive = true
}
