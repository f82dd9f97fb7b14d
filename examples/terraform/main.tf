# The image as a custom connector, and a source and a connection for each entry of plan.tf.

terraform {
  required_version = ">= 1.5"
  required_providers {
    airbyte = {
      source  = "airbytehq/airbyte"
      version = "~> 1.2"
    }
  }
}

provider "airbyte" {
  server_url    = var.server_url
  client_id     = var.client_id
  client_secret = var.client_secret
}

resource "airbyte_source_definition" "liquidations" {
  workspace_id      = var.workspace_id
  name              = "Liquidations"
  docker_repository = var.image
  docker_image_tag  = "0.2.0"
}

resource "airbyte_source" "liquidations" {
  for_each = local.connections

  name          = "Liquidations: ${each.key}"
  workspace_id  = var.workspace_id
  definition_id = airbyte_source_definition.liquidations.id
  configuration = jsonencode(each.value.source)

  resource_allocation = {
    job_specific = [
      {
        job_type = "sync"
        resource_requirements = {
          cpu_request    = "0.25"
          cpu_limit      = "1"
          memory_request = "256Mi"
          memory_limit   = each.value.memory_limit
        }
      }
    ]
  }
}

resource "airbyte_connection" "liquidations" {
  for_each = local.connections

  name           = "Liquidations: ${each.key}"
  source_id      = airbyte_source.liquidations[each.key].source_id
  destination_id = var.destination_id
  status         = "active"

  # Two connections must not write the same table.
  namespace_definition = "custom_format"
  namespace_format     = "liquidations_${each.key}"

  non_breaking_schema_updates_behavior = "propagate_columns"

  schedule = {
    schedule_type   = each.value.cron == "" ? "manual" : "cron"
    cron_expression = each.value.cron == "" ? null : each.value.cron
  }

  configurations = {
    streams = [for name in each.value.streams : {
      name      = name
      sync_mode = lookup(local.lists, name, "incremental_deduped_history")
    }]
  }
}
