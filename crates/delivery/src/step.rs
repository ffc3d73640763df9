//! Which call a write needs next.
//!
//! Guarantee: it follows from the last call that was recorded, so that whoever claims the write next,
//! after a restart or on another node, makes the same choice. A call that was cut off counts as the
//! write's own: the vendor may have it.

use connectors::write_operation::{IfUnknown, WriteOperation};
use model::write::{AttemptKind, Call, Class};
use store::LastAttempt;

/// What is done next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// A call is made.
    Call(AttemptKind, Call),
    /// None can be made: whether the vendor has it is not known, and it must not have it twice.
    GiveUp,
}

/// The next step of a write whose own call is `call`, and whose `last` one was recorded as this.
/// One whose operation its vendor does not have any more is sent as it was accepted.
pub fn next(operation: Option<&WriteOperation>, call: &Call, last: Option<&LastAttempt>) -> Step {
    let own = || Step::Call(AttemptKind::Write, call.clone());
    let Some((operation, last)) = operation.zip(last) else {
        return own();
    };
    match (last.kind, last.class, operation.if_unknown) {
        (AttemptKind::Write | AttemptKind::Resolve, Class::Delivered, _)
        | (AttemptKind::FollowUp, _, _) => match (operation.follow_up, &last.x_id) {
            (Some(follow_up), Some(x_id)) => {
                Step::Call(AttemptKind::FollowUp, follow_up(call, x_id))
            }
            _ => own(),
        },
        (AttemptKind::Write, Class::Unknown, IfUnknown::Resolve(resolve)) => {
            Step::Call(AttemptKind::Resolve, resolve(call))
        }
        (AttemptKind::Write, Class::Unknown, IfUnknown::NeverRepeat) => Step::GiveUp,
        // The vendor has said that it does not have it.
        (AttemptKind::Resolve, Class::Retry, _) => own(),
        (AttemptKind::Resolve, _, IfUnknown::Resolve(resolve)) => {
            Step::Call(AttemptKind::Resolve, resolve(call))
        }
        (
            AttemptKind::Write | AttemptKind::Resolve | AttemptKind::Token | AttemptKind::NoCall,
            _,
            _,
        ) => own(),
    }
}

#[cfg(test)]
mod tests {
    use connectors::component::Component;
    use model::write::Operation;
    use serde_json::json;

    use super::*;

    fn operation(if_unknown: IfUnknown) -> WriteOperation {
        WriteOperation {
            operation: Operation::ProspectCreate,
            body: Component::of::<String>(),
            description: "",
            if_unknown,
            follow_up: Some(|call, x_id| Call {
                path: format!("{}/{x_id}", call.path),
                ..call.clone()
            }),
            prepare: |_| Box::pin(async { Err(connectors::write_operation::Refused::Internal) }),
        }
    }

    fn call(path: &str) -> Call {
        Call {
            method: "POST".to_owned(),
            path: path.to_owned(),
            x_community_id: "c".to_owned(),
            body: json!({}),
        }
    }

    fn check(
        if_unknown: IfUnknown,
        last: Option<(AttemptKind, Class, Option<&str>)>,
        expected: Option<(AttemptKind, &str)>,
    ) {
        let last = last.map(|(kind, class, x_id)| LastAttempt {
            kind,
            class,
            x_id: x_id.map(str::to_owned),
        });
        let next = next(Some(&operation(if_unknown)), &call("/leads"), last.as_ref());
        let expected = match expected {
            Some((kind, path)) => Step::Call(kind, call(path)),
            None => Step::GiveUp,
        };
        assert_eq!(next, expected, "{last:?}");
    }

    #[test]
    fn the_next_call_follows_from_the_last() {
        use AttemptKind::{FollowUp, Resolve, Write};
        const RESOLVE: IfUnknown = IfUnknown::Resolve(|call| Call {
            path: format!("{}?q", call.path),
            ..call.clone()
        });
        let own = Some((Write, "/leads"));
        for if_unknown in [IfUnknown::Repeat, IfUnknown::RepeatTwiceAtWorst] {
            check(if_unknown, None, own);
            for class in [Class::Unknown, Class::Retry, Class::Unauthorized] {
                check(if_unknown, Some((Write, class, None)), own);
            }
        }
        check(RESOLVE, None, own);
        check(RESOLVE, Some((Write, Class::Retry, None)), own);
        let ask = Some((Resolve, "/leads?q"));
        check(RESOLVE, Some((Write, Class::Unknown, None)), ask);
        check(RESOLVE, Some((Resolve, Class::Unknown, None)), ask);
        check(RESOLVE, Some((Resolve, Class::Unauthorized, None)), ask);
        check(RESOLVE, Some((Resolve, Class::Retry, None)), own);
        check(IfUnknown::NeverRepeat, None, own);
        check(
            IfUnknown::NeverRepeat,
            Some((Write, Class::Retry, None)),
            own,
        );
        check(
            IfUnknown::NeverRepeat,
            Some((Write, Class::Unknown, None)),
            None,
        );
        let follow_up = Some((FollowUp, "/leads/7"));
        check(
            RESOLVE,
            Some((Write, Class::Delivered, Some("7"))),
            follow_up,
        );
        check(
            RESOLVE,
            Some((FollowUp, Class::Unknown, Some("7"))),
            follow_up,
        );
        check(
            RESOLVE,
            Some((FollowUp, Class::Retry, Some("7"))),
            follow_up,
        );
    }
}
