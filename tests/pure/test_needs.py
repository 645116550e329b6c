"""Each screen that people had in the old web application, and each need that they had of the old systems, is kept by a test that is named here."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# The number, and the tests: `file::test`, below tests/. Screens S-1 to S-20 and needs N-1 to N-27 of the comparison with the openSUSE Hermes.
KEPT = """
S-1   browser/test_wishing::test_a_choice_in_the_grid_holds_at_once_is_explained_and_can_be_taken_back
S-2   browser/test_wishing::test_a_rule_from_a_message_is_tried_saved_switched_off_moved_and_deleted browser/test_wishing::test_rules_are_put_in_order_by_dragging
S-3   browser/test_needs::test_everything_of_my_packages_except_one_architecture_at_once
S-4   browser/test_needs::test_everything_of_my_packages_except_one_architecture_at_once house/test_rules::test_wrong_input_names_the_field_and_keeps_what_was_typed
S-5   browser/test_ways::test_a_feed_is_made_read_and_revoked
S-6   house/test_topics::test_a_topic_has_pages_and_valid_feeds house/test_topics::test_following_a_topic
S-7   browser/test_ways::test_a_feed_is_made_read_and_revoked browser/test_reading::test_many_are_archived_and_taken_back
S-8   browser/test_reading::test_many_are_archived_and_taken_back browser/test_reading::test_by_keyboard_alone
S-9   browser/test_reading::test_a_message_is_read_and_says_why_it_came
S-10  house/test_rules::test_hits_and_what_is_never_reached
S-11  browser/test_wishing::test_one_type_is_settled_in_the_tree
S-12  browser/test_needs::test_many_of_one_thing_are_one_group_which_is_muted_without_losing_what_names_her
S-13  house/test_admin_pages::test_statistics_count_what_came
S-14  house/test_admin_pages::test_days_end_now_and_count_what_is_below
S-15  browser/test_signing_in::test_alice_signs_in_comes_to_her_page_and_leaves browser/test_ways::test_she_changes_her_language_and_the_pages_speak_it
S-16  browser/test_dead_letters::test_a_dead_mail_is_replayed_and_comes browser/test_administration::test_mail_is_paused_and_goes_on
S-17  browser/test_for_another::test_a_choice_an_absence_and_an_address_for_somebody_else house/test_admin_pages::test_view_as_is_read_only_and_leaves_an_entry
S-18  browser/test_administration::test_a_type_gets_words_and_a_lock browser/test_administration::test_a_template_is_previewed_saved_compared_and_taken_back
S-19  house/test_openapi::test_every_route_of_the_api_is_described house/test_openapi::test_requests_made_of_the_description
S-20  browser/test_wishing::test_away_and_back browser/test_ways::test_an_address_is_added_verified_tested_paused_and_deleted
N-1   browser/test_wishing::test_quiet_hours_and_a_schedule house/test_outages::test_one_digest_a_night_also_when_clocks_change
N-2   pure/test_decisions::test_equal_collapse_keys_are_one_line pure/test_decisions::test_what_expired_vanishes_and_an_empty_digest_is_none
N-3   browser/test_reading::test_a_message_is_read_and_says_why_it_came house/test_why::test_what_decided_is_linked_to_where_it_is_changed
N-4   pure/test_resolve::test_given_case pure/test_resolve::test_case
N-5   browser/test_needs::test_everything_of_my_packages_except_one_architecture_at_once
N-6   browser/test_needs::test_everything_of_my_packages_except_one_architecture_at_once
N-7   browser/test_needs::test_everything_of_my_packages_except_one_architecture_at_once
N-8   house/test_life::test_each_gets_it_the_way_she_chose house/test_life::test_presets_are_ticked_and_unticked_alone
N-9   pure/test_resolve::test_given_case
N-10  pure/test_mail::test_golden pure/test_mail::test_a_thousand_letters_of_hostile_text_have_the_headers_that_were_meant
N-11  pure/test_mail::test_golden pure/test_mail::test_what_the_readers_program_sees
N-12  pure/test_mail::test_golden
N-13  pure/test_resolve::test_given_case pure/test_decisions::test_no_item_is_lost_or_told_twice_and_order_does_not_matter
N-14  house/test_outages::test_a_mail_server_that_is_gone_for_half_an_hour house/test_outages::test_after_five_days_all_is_given_up_and_the_owner_is_told_once
N-15  browser/test_needs::test_everything_of_my_packages_except_one_architecture_at_once
N-16  browser/test_needs::test_many_of_one_thing_are_one_group_which_is_muted_without_losing_what_names_her
N-17  browser/test_needs::test_what_is_for_a_group_of_mine_stays_in_the_inbox
N-18  browser/test_reading::test_many_are_archived_and_taken_back house/test_inbox::test_bulk_changes_respect_the_view_and_can_be_taken_back
N-19  browser/test_needs::test_many_of_one_thing_are_one_group_which_is_muted_without_losing_what_names_her
N-20  browser/test_needs::test_many_of_one_thing_are_one_group_which_is_muted_without_losing_what_names_her
N-21  browser/test_push::test_a_browser_is_subscribed_told_and_opens_the_message browser/test_ways::test_a_feed_is_made_read_and_revoked
N-22  browser/test_wishing::test_quiet_hours_and_a_schedule browser/test_wishing::test_away_and_back
N-23  house/test_unsubscribe::test_after_one_click_all_is_as_it_was
N-24  house/test_wishes::test_the_form_and_single_addresses_of_a_cell_stay
N-25  browser/test_ways::test_a_feed_is_made_read_and_revoked
N-26  browser/test_administration::test_a_type_gets_words_and_a_lock
N-27  house/test_life::test_a_flood_becomes_one_digest_with_one_notice
"""
NUMBERS = [f"S-{number}" for number in range(1, 21)] + [f"N-{number}" for number in range(1, 28)]
LINES = [line.split() for line in KEPT.strip().splitlines()]


def test_each_screen_and_each_need_is_named_once():
    assert [number for number, *_ in LINES] == NUMBERS
    assert all(tests for _, *tests in LINES)


@pytest.mark.parametrize(("number", "name"), [(number, name) for number, *names in LINES for name in names])
def test_the_test_is_there(number, name):
    file, _, test = name.partition("::")
    assert re.search(rf"^\s*(async )?def {test}\(", (TESTS / f"{file}.py").read_text(), re.MULTILINE), f"what keeps {number} now?"
