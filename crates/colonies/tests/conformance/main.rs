//! Conformance to the Colonies protocol: one list of behaviours, for the embedded server and for a real one.
//!
//! Every behaviour runs against the embedded server. They all run a second time against the server that `COLONIES_TEST_URL`
//! names, if it does, with the variables that `colonies_testkit` lists.
//!
//! Each behaviour makes a colony of its own with random names and keys, so a server can be used again and again; the
//! colonies are left there. With `COLONIES_TEST_PYTHON`, a Python that has `pycolonies`, the public Python client does
//! a whole job on the embedded server. Beside the list: the client against recorded calls and servers that misbehave.

#![expect(clippy::unwrap_used, reason = "a test that meets something else than it expects has failed")]

mod assigning;
mod client;
mod closing;
mod embedded;
mod leases;
mod members;
mod processes;
mod python;
mod recorded;
mod rotation;
mod transcript;
mod wire;

use std::pin::Pin;

use colonies_testkit::world::{Target, World};
use colonies_testkit::{scripted, world};
use tokio::task::JoinSet;

type Behaviour = fn(World) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes a test on the embedded server for each behaviour, and a list of all behaviours.
macro_rules! behaviours {
    ($($module:ident { $($name:ident)* })*) => {
        $(mod $module {
            $(
                #[tokio::test]
                async fn $name() {
                    crate::$module::$name(crate::World::on(&crate::Target::embedded().await).await).await;
                }
            )*
        })*
    };
}

macro_rules! list {
    ($($module:ident { $($name:ident)* })*) => {
        &[$($((
            concat!(stringify!($module), "::", stringify!($name)),
            (|world| Box::pin($module::$name(world))) as Behaviour,
        ),)*)*]
    };
}

macro_rules! with_all_behaviours {
    ($do:ident) => {
        $do! {
            wire {
                the_health_check_answers_200_and_other_paths_404
                replies_are_plain_text_and_repeat_the_status
                the_version_needs_no_valid_key
                a_body_that_is_no_request_is_400
                a_payload_that_is_not_the_messages_json_is_400
                a_payload_of_another_type_is_400
                an_unknown_type_is_403
                a_signature_that_names_nobody_is_403
                a_signature_over_another_payload_names_a_stranger
                a_request_that_is_sent_twice_is_carried_out_twice
                an_empty_list_is_null
            }
            members {
                only_the_servers_owner_adds_colonies
                only_the_colonys_owner_adds_users_and_executors
                only_the_colonys_owner_approves_removes_and_pauses
                strangers_may_do_nothing
                the_colonys_owner_is_no_member
                members_of_another_colony_are_strangers
                an_approved_executor_may_submit_read_and_cancel
                names_that_exist_are_refused
                an_executor_that_is_not_approved_may_do_nothing
                a_rejected_executor_may_do_nothing_until_it_is_approved
                an_unknown_executor_cannot_be_approved_or_removed
                a_removed_executor_may_do_nothing_and_keeps_its_name
                a_new_approval_brings_a_removed_executor_back
                an_executor_that_was_heard_of_but_not_lately_is_removed
                a_colony_that_does_not_exist_is_403
                executors_are_listed_with_their_states
                statistics_count_executors_and_processes
                statistics_for_a_stranger_are_an_empty_success
                an_executor_registers_its_own_functions_only
            }
            assigning {
                nothing_waiting_is_404
                a_timeout_of_zero_is_400
                a_negative_timeout_does_not_wait
                a_user_that_asks_for_work_is_500
                a_waiting_call_is_woken_by_a_submission
                one_process_goes_to_one_of_many_waiting_calls
                every_process_is_assigned_once
                higher_priority_runs_first_and_equals_in_their_order
                one_step_of_priority_is_worth_a_day_of_waiting
                type_and_names_of_executors_are_matched
                a_lone_star_among_the_names_is_shown_as_none
                assigning_while_paused_is_408_or_503
                submitting_while_paused_works_and_resuming_wakes
                the_deadline_of_a_lease_follows_from_its_start
            }
            closing {
                a_successful_process_keeps_its_output
                closing_twice_as_successful_replaces_the_output
                a_failed_process_is_final_and_not_retried
                a_process_ends_once
                only_the_assigned_executor_may_close
                an_unassigned_process_cannot_be_closed
                an_unknown_process_cannot_be_closed
                a_cancelled_process_stays_cancelled
                only_the_assigned_executor_may_log_and_only_while_it_runs
                closing_counts_the_call_of_a_function
            }
            leases {
                an_expired_lease_sends_the_process_back_with_one_retry_more
                closing_after_the_lease_is_lost_is_403
                closing_a_process_that_another_executor_has_is_403
                spent_retries_fail_the_process
                a_lease_without_length_is_lost_at_the_next_check
                a_lease_without_end_is_kept
                the_answer_to_a_later_assignment_may_carry_the_deadline_of_the_lease_before
                a_wait_that_ends_fails_the_process
                removing_an_executor_sends_its_processes_back_without_a_retry
            }
            processes {
                numbers_come_back_as_doubles_and_strings_exactly
                a_minimal_job_comes_back_with_every_default
                resources_come_back_normalised
                the_environment_becomes_attributes
                a_batch_of_a_megabyte_comes_back_whole
                a_priority_outside_the_range_is_400
                an_unknown_process_is_404
                processes_are_listed_by_state_in_order
                of_several_filters_the_first_counts
                a_count_above_one_hundred_is_400
                a_state_that_does_not_exist_is_400
            }
            rotation {
                a_users_id_is_replaced_in_place
                an_executors_id_is_replaced_in_place
                a_lease_is_not_carried_over_to_the_new_id
                a_colonys_id_is_replaced_by_its_owner
                an_id_of_another_length_is_refused
            }
        }
    };
}

mod on_the_embedded_server {
    with_all_behaviours!(behaviours);
}

/// How many behaviours run at the same time on a given server.
const PARALLEL: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_behaviour_holds_on_the_given_server() {
    let Some(target) = Target::given() else {
        eprintln!("SKIPPED: COLONIES_TEST_URL is not set, so no other server was tested");
        return;
    };
    let all: &[(&str, Behaviour)] = with_all_behaviours!(list);
    let mut waiting = all.iter();
    let mut running = JoinSet::new();
    let mut names = std::collections::HashMap::new();
    let mut failed = Vec::new();
    loop {
        while running.len() < PARALLEL
            && let Some((name, behaviour)) = waiting.next()
        {
            let target = target.clone();
            let task = running.spawn(async move { behaviour(World::on(&target).await).await });
            names.insert(task.id(), *name);
        }
        match running.join_next_with_id().await {
            Some(Ok((id, ()))) => eprintln!("ok      {}", names[&id]),
            Some(Err(error)) => {
                eprintln!("FAILED  {}", names[&error.id()]);
                failed.push(names[&error.id()]);
            }
            None => break,
        }
    }
    assert!(failed.is_empty(), "{} of {} behaviours differ on {target}: {failed:#?}", failed.len(), all.len());
}
