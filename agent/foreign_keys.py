"""Keys of Nomad's configuration that are accepted without effect, for what this agent does not have.

A Nomad agent's file starts ours as it is: what concerns jobs, drivers, Consul, Vault, Raft and the like is taken
note of, once, in the log.
"""

from collections.abc import Iterable
from typing import Final

_GENERAL: Final = """
    disable_anonymous_signature disable_update_check enable_syslog eventlog log_file log_include_location
    log_rotate_bytes log_rotate_duration log_rotate_max_files plugin_dir syslog_facility
    atlas audit autopilot consul keyring plugin reporting rpc sentinel ui vault
"""
_CLIENT: Final = """
    alloc_dir alloc_mounts_dir artifact bridge_network_hairpin_mode bridge_network_name bridge_network_subnet
    bridge_network_subnet_ipv6 cgroup_parent chroot_env client_max_port client_min_port cni_config_dir cni_path
    common_plugin_dir cpu_disable_dmidecode cpu_total_compute disable_remote_exec disk_free_mb disk_total_mb
    drain_on_shutdown fingerprint gc_disk_usage_threshold gc_inode_usage_threshold gc_interval gc_max_allocs
    gc_parallel_destroys gc_volumes_on_node_gc host_network host_volume host_volume_plugin_dir host_volumes_dir
    max_dynamic_port max_kill_timeout memory_total_mb min_dynamic_port network_interface network_speed no_host_uuid
    node_max_allocs node_pool nomad_service_discovery numa options preferred_address_family reserved stats
    template users
"""
_SERVER: Final = """
    acl_token_gc_threshold authoritative_region batch_eval_gc_threshold client_introduction
    csi_plugin_gc_threshold csi_volume_claim_gc_interval csi_volume_claim_gc_threshold data_dir
    default_scheduler_config deployment_gc_threshold deployment_query_rate_limit enable_event_broker
    enabled_schedulers eval_gc_threshold event_buffer_size failover_heartbeat_ttl
    job_default_priority job_gc_interval job_gc_threshold job_max_count job_max_priority job_max_source_size
    job_tracked_versions license_env license_path non_production non_voting_server num_schedulers
    oidc_issuer plan_rejection_tracker protocol_version raft_boltdb raft_logstore raft_multiplier raft_protocol
    raft_snapshot_interval raft_snapshot_threshold raft_trailing_logs redundancy_zone root_key_gc_interval
    root_key_gc_threshold root_key_rotation_threshold search start_timeout upgrade_version
"""
_TELEMETRY: Final = """
    allowed_metadata_keys_in_metrics backwards_compatible_metrics circonus_api_app circonus_api_token
    circonus_api_url circonus_broker_id circonus_broker_select_tag circonus_check_display_name
    circonus_check_force_metric_activation circonus_check_id circonus_check_instance_id circonus_check_search_tag
    circonus_check_tags circonus_submission_interval circonus_submission_url datadog_tags
    disable_allocation_hook_metrics disable_dispatched_job_summary_metrics disable_quota_utilization_metrics
    disable_rpc_rate_metrics_labels disable_tagged_metrics filter_default in_memory_collection_interval
    in_memory_retention_period include_alloc_metadata_in_metrics prefix_filter
"""
_ACL: Final = "policy_ttl replication_token role_ttl token_max_expiration_ttl token_min_expiration_ttl token_ttl"

FOREIGN: Final = frozenset(
    {
        *_GENERAL.split(),
        *(
            f"{block}.{name}"
            for block, names in (
                ("client", _CLIENT),
                ("server", _SERVER),
                ("telemetry", _TELEMETRY),
                ("acl", _ACL),
            )
            for name in names.split()
        ),
    }
)
"""By dotted path. Of what is a block everything in it is accepted, as new releases bring new keys."""


def notice(found: Iterable[str]) -> str | None:
    """A line for the log about the keys that were found, None when there were none."""
    names = sorted(set(found))
    if not names:
        return None
    return f"accepted without effect, for what this agent does not have: {', '.join(names)}"
