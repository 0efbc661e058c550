"""Every kind of bad input, and the tests that stand at the real door with it.

Each test asserts the stable code, the place, both languages whole, that nothing is lost, and that no value of the
citizen is in a message, a log line or a chain of exceptions. `test_rows.py` holds this table to the files beside it.
"""

from collections.abc import Mapping
from typing import Final

import pytest

COLLECTED: Final = pytest.StashKey[set[str]]()
"""The names of all tests in this folder that a run has looked at, those that it leaves out too."""

SIGNERS, TIMES, REPLAYS, SCHEMAS = "test_bad_signers.py", "test_bad_times.py", "test_replays.py", "test_bad_schemas.py"
BYTES, DOWNGRADES, WEAK, VALUES = "test_bad_bytes.py", "test_downgrades.py", "test_weak_keys.py", "test_bad_values.py"
MAPPINGS, AWAY, DISKS, HOMES = "test_bad_mappings.py", "test_away.py", "test_bad_disks.py", "test_bad_homes.py"
HTTP = "test_bad_http.py"

_AT_THE_DESK = f"{VALUES}::test_a_wrong_value_is_refused_at_its_place_before_anything_is_written"
_AT_THE_COMMAND_LINE = f"{VALUES}::test_a_person_reads_what_is_wrong_with_a_value_where_and_what_to_do"


def _values(*names: str) -> tuple[str, ...]:
    return tuple(f"{test}[{name}]" for name in names for test in (_AT_THE_DESK, _AT_THE_COMMAND_LINE))


def _tests(file: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{file}::{name}" for name in names)


ROWS: Final[Mapping[str, tuple[str, ...]]] = {
    "unknown key": _tests(
        SIGNERS,
        "test_a_key_that_nobody_knows_is_refused_at_its_signature",
        "test_a_person_who_revokes_a_key_that_nobody_has_is_told_so",
    ),
    "revoked key": _tests(
        SIGNERS,
        "test_a_revoked_key_is_refused_and_a_new_one_is_taken[revoked-after-it-signed]",
        "test_a_revoked_key_is_refused_and_a_new_one_is_taken[revoked-before-it-signed]",
    ),
    "wrong source for the type": _tests(
        SIGNERS,
        "test_a_source_that_may_not_declare_this_type_is_refused_at_the_type",
        "test_the_key_of_another_party_is_refused",
        "test_a_person_who_declares_for_a_source_that_may_not_is_told_so",
    ),
    "expired manifest": _tests(
        TIMES,
        "test_an_expired_manifest_is_refused_at_its_end",
        "test_a_manifest_is_taken_in_the_last_millisecond_of_its_life",
    ),
    "future manifest": _tests(
        TIMES,
        "test_a_manifest_from_the_future_is_refused_and_taken_when_its_time_has_come",
        "test_a_key_that_is_good_from_tomorrow_does_not_sign_today",
    ),
    "replay, the same bytes": _tests(REPLAYS, "test_the_same_bytes_get_the_same_receipt_and_have_one_effect"),
    "replay, other bytes": _tests(
        REPLAYS,
        "test_the_same_id_with_other_bytes_is_refused_and_the_first_stays",
        "test_a_person_who_says_it_again_under_its_id_is_answered_as_before_and_something_else_is_refused",
    ),
    "unknown schema": _tests(
        SCHEMAS,
        "test_an_unknown_schema_is_refused_at_its_id",
        "test_a_schema_of_another_type_is_refused_at_its_id",
        "test_an_unknown_type_is_refused_before_anything_is_signed",
        "test_a_schema_that_an_agency_does_not_hold_yet_waits_among_the_dead_and_arrives_after",
        "test_a_person_who_names_a_type_that_does_not_exist_is_told_so",
    ),
    "truncated bytes": _tests(
        BYTES,
        "test_an_envelope_cut_anywhere_is_refused",
        "test_an_envelope_with_something_behind_it_is_refused_by_its_size",
        "test_a_record_of_the_log_that_was_cut_is_set_aside_and_the_next_goes_on",
        "test_a_mailbox_row_that_was_cut_is_set_aside_found_by_fsck_and_stops_nobody",
        "test_a_file_that_was_cut_or_is_no_document_is_told_by_its_line",
        "test_a_key_file_that_was_cut_is_told_and_left_as_it_is",
        "test_a_settings_file_that_was_cut_is_told_by_its_line",
    ),
    "bit-flipped bytes": _tests(
        BYTES,
        "test_a_bit_flipped_before_the_sealed_fields_is_refused_at_the_door",
        "test_a_bit_flipped_in_what_is_sealed_reaches_nobody_and_stops_nobody",
        "test_a_receipt_that_was_cut_or_changed_proves_nothing",
        "test_the_bytes_of_a_database_that_were_overwritten_are_told",
    ),
    "algorithm downgrade": _tests(
        DOWNGRADES,
        "test_one_of_two_demanded_signatures_is_not_enough",
        "test_a_source_that_understates_its_policy_is_held_to_the_directorys",
        "test_an_unknown_policy_is_refused_at_its_number",
    ),
    "suite downgrade": _tests(
        DOWNGRADES,
        "test_a_key_is_sealed_to_a_gate_key_that_nobody_listed",
        "test_a_key_that_is_sealed_in_another_suite_than_the_gates_is_refused_by_its_size",
        "test_a_release_that_names_another_suite_than_the_recipients_key_is_rejected_and_comes_again",
        "test_a_release_sealed_to_a_weaker_key_of_the_same_recipient_waits_for_an_operator",
    ),
    "small-order keys": _tests(
        WEAK,
        "test_no_weak_signing_key_is_listed",
        "test_no_weak_sealing_key_is_listed_in_either_suite",
        "test_a_pinned_directory_with_a_weak_signing_key_is_refused_at_its_entry[small-order]",
        "test_a_pinned_directory_with_a_weak_sealing_key_is_refused_at_its_entry[small-order]",
        "test_a_weak_key_written_behind_the_registrars_back_stops_whoever_reads_it",
    ),
    "non-canonical keys": _tests(
        WEAK,
        "test_no_weak_signing_key_is_listed",
        "test_no_weak_sealing_key_is_listed_in_either_suite",
        "test_a_pinned_directory_with_a_weak_signing_key_is_refused_at_its_entry[non-canonical]",
        "test_a_pinned_directory_with_a_weak_sealing_key_is_refused_at_its_entry[non-canonical]",
        "test_keys_of_a_wrong_length_off_the_curve_or_malformed_are_not_listed",
    ),
    "10 MB field": (
        *_tests(
            VALUES,
            "test_ten_megabytes_in_one_field_are_refused_at_that_field",
            "test_ten_megabytes_at_the_intake_are_refused_before_they_are_read",
            "test_a_person_who_gives_a_file_of_ten_megabytes_is_told_before_it_is_read",
        ),
        *_values("a long text", "too many items"),
    ),
    "deep nesting": (
        f"{VALUES}::test_a_person_who_gives_a_file_that_is_nested_without_end_is_told_so",
        f"{_AT_THE_DESK}[nested in a list]",
        *_values("nested in a text"),
    ),
    "not NFC": _values("not NFC, a name", "not NFC, a street"),
    "control characters": _values("a control character", "a line break", "a direction mark", "a lone surrogate"),
    "bad IBAN": _values("an IBAN with a wrong check", "an IBAN cut"),
    "unknown commune": _values("an unknown commune", "an unknown birthplace"),
    "impossible date": _values("an impossible day", "an impossible birthdate", "a date in words"),
    "mapping that fails": _tests(
        MAPPINGS,
        "test_a_person_whose_file_does_not_fit_the_mapping_is_told_at_which_field",
        "test_a_person_who_forgets_a_parameter_of_the_mapping_is_told_which",
        "test_a_mapping_file_with_a_mistake_is_told_by_its_place",
        "test_a_mapping_that_is_not_there_is_told_with_the_nearest_one",
        "test_a_delivery_that_an_agencys_mapping_cannot_take_waits_among_the_dead_and_arrives_after",
        "test_an_operator_reads_why_a_mapping_failed_mends_it_and_the_delivery_arrives",
        "test_an_operator_whose_agencys_mapping_has_a_mistake_is_told_in_which_file",
        "test_a_delivery_that_no_mapping_fits_is_parked_with_its_reason_and_arrives_after",
    ),
    "agency system away for hours": _tests(
        AWAY,
        "test_a_system_that_is_away_for_a_day_gets_everything_once_when_it_is_back",
        "test_a_system_that_takes_no_row_for_two_days_gets_it_when_it_does",
        "test_nobody_is_needed_before_nine_days_are_over",
        "test_a_system_that_is_away_for_good_leaves_its_deliveries_to_an_operator_with_the_reason",
        "test_a_consent_that_ends_while_the_system_is_away_is_not_outlived_by_what_waits",
        "test_an_operator_is_told_that_a_system_is_away_and_that_it_will_be_tried_again",
    ),
    "disk full": _tests(
        DISKS,
        "test_a_full_disk_is_told_keeps_what_was_answered_and_takes_the_same_again_afterwards",
        "test_a_revocation_on_a_full_disk_is_not_acknowledged_and_takes_effect_when_it_is",
        "test_a_person_whose_disk_is_full_is_told_loses_nothing_and_goes_on_when_there_is_room",
        "test_a_key_store_whose_disk_is_full_is_told_before_the_directory_names_a_key",
    ),
    "database locked": _tests(
        DISKS,
        "test_a_locked_database_is_told_at_every_door_and_nothing_is_lost",
        "test_a_person_before_a_locked_database_is_told_to_try_again",
    ),
    "wrong passphrase": _tests(
        HOMES,
        "TestPassphrase::test_a_wrong_one_is_told_and_the_right_one_opens",
        "TestPassphrase::test_none_where_one_is_needed_is_told",
        "TestPassphrase::test_one_where_none_is_needed_is_told",
        "TestPassphrase::test_a_file_that_is_not_there_is_told_by_the_setting",
        "TestPassphrase::test_a_file_in_another_encoding_is_told_and_hangs_on_no_exception",
    ),
    "wrong permissions": _tests(
        HOMES,
        "TestPermissions::test_keys_that_others_can_reach_are_not_used",
        "TestPermissions::test_keys_of_another_account_are_not_used",
        "TestPermissions::test_keys_behind_a_link_are_not_used",
        "TestPermissions::test_a_database_that_this_account_may_not_open_is_told",
        "TestPermissions::test_a_folder_in_the_place_of_the_database_is_told",
    ),
    "home of a newer version": _tests(
        HOMES,
        "TestVersion::test_a_home_of_a_newer_version_is_told_and_left_as_it_is",
        "TestVersion::test_a_home_of_an_older_version_is_told_what_brings_it_up_to_date",
        "TestVersion::test_a_setting_of_a_newer_version_is_told_by_its_name",
        "TestVersion::test_a_key_store_of_a_newer_version_is_told",
        "TestVersion::test_a_database_of_another_program_is_told",
    ),
    "requests that are none, or whose end is in doubt": _tests(
        HTTP,
        "test_a_message_whose_end_is_in_doubt_is_refused_and_what_follows_is_no_request",
        "test_a_chunk_that_is_none_ends_the_connection",
        "test_chunks_without_an_end_are_counted",
        "test_a_thousand_frames_around_little_are_refused_as_what_they_cost",
        "test_as_many_chunks_as_their_weight_allows_are_one_body",
        "test_a_body_that_would_have_to_be_unpacked_is_refused_unread",
        "test_what_is_no_request_is_refused_and_the_next_client_is_answered",
    ),
    "clients that dawdle, or are too many": _tests(
        HTTP,
        "test_who_does_not_end_what_they_began_is_cut_off",
        "test_a_body_that_drips_is_cut_off_however_long_it_drips",
        "test_where_connections_are_too_many_the_oldest_that_waits_for_its_client_makes_room",
        "test_more_requests_at_once_than_it_answers_are_told_to_come_again",
        "test_ten_thousand_who_say_nothing_keep_nobody_from_being_answered",
    ),
}
"""What is bad -> node ids below `tests/bad_input`; a function without brackets means all its cases."""
