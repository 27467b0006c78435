//! Every bound of a code format, every reserved range in either direction, and the routing table.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its own functions")]

use paycode::{Code, CodeFormat, FormatError, InstitutionId, MAX_PREFIX_DIGITS, Route, RoutingError, RoutingTable};
use proptest::prelude::*;

#[test]
fn the_fields_of_a_format_follow_from_prefix_and_length() {
    // (prefix, total) → (body, index, password)
    for (prefix, total, body, index, password) in [
        ("71", 18, 16, 9, 7),
        ("7", 18, 17, 9, 8),
        ("71", 19, 17, 9, 8),
        ("71", 20, 18, 10, 8),
        ("71", 22, 20, 10, 10),
        ("71", 24, 22, 10, 12),
        ("71234567", 24, 16, 9, 7),
    ] {
        let format = CodeFormat::new(prefix, total).unwrap();
        assert_eq!(format.prefix_str(), prefix);
        assert_eq!(format.prefix_digits(), prefix.len());
        assert_eq!(format.total_digits(), usize::from(total));
        assert_eq!((format.body_digits(), format.index_digits(), format.password_digits()), (body, index, password));
    }
}

#[test]
fn every_prefix_length_and_total_is_accepted_or_refused_by_the_written_rule() {
    let digits = "777777777";
    for prefix_digits in 0..=digits.len() {
        for total in 0..=u8::MAX {
            let expected = if !(1..=MAX_PREFIX_DIGITS).contains(&prefix_digits) {
                Err(FormatError::PrefixLength)
            } else if !(18..=24).contains(&total) {
                Err(FormatError::TotalDigits)
            } else if !(16..=22).contains(&(usize::from(total) - prefix_digits)) {
                Err(FormatError::BodyDigits)
            } else {
                Ok(())
            };
            let format = CodeFormat::new(&digits[..prefix_digits], total);
            assert_eq!(format.map(|_| ()), expected, "{prefix_digits}/{total}");
            if let Ok(format) = format {
                assert!((9..=10).contains(&format.index_digits()));
                assert!((7..=12).contains(&format.password_digits()));
                assert_eq!(
                    format.prefix_digits() + format.index_digits() + format.password_digits(),
                    format.total_digits()
                );
            }
        }
    }
}

#[test]
fn prefixes_that_overlap_another_scheme_are_refused_in_both_directions() {
    let reserved = |pair: u32| matches!(pair, 1 | 10..=15 | 25..=30 | 62);
    for pair in 0..100 {
        for tail in ["", "0", "999999"] {
            let prefix = format!("{pair:02}{tail}");
            let total = if prefix.len() == 8 { 24 } else { 20 };
            let expected = if reserved(pair) { Err(FormatError::PrefixReserved) } else { Ok(()) };
            assert_eq!(CodeFormat::new(&prefix, total).map(|_| ()), expected, "{prefix}");
        }
    }
    // One digit covers ten pairs: free only where none of them is taken.
    for digit in 0..10 {
        let free = !(0..10).any(|second| reserved(digit * 10 + second));
        assert_eq!(CodeFormat::new(&digit.to_string(), 20).is_ok(), free, "{digit}");
    }
}

#[test]
fn a_prefix_is_ascii_digits() {
    for prefix in ["7a", "7 ", "-7", "+7", "７", "7\0", "٧"] {
        assert_eq!(CodeFormat::new(prefix, 20), Err(FormatError::PrefixDigit), "{prefix:?}");
    }
}

#[test]
fn the_default_is_what_its_numbers_say() {
    assert_eq!(CodeFormat::new("71", 20), Ok(CodeFormat::DEFAULT));
    assert_eq!(format!("{:?}", CodeFormat::DEFAULT), "CodeFormat(71/20)");
}

fn route(prefix: &str, total: u8, institution: u32) -> Route {
    Route { format: CodeFormat::new(prefix, total).unwrap(), institution: InstitutionId(institution) }
}

fn code(beginning: &str, total: usize) -> Code {
    Code::parse(&format!("{beginning:0<total$}")).unwrap()
}

#[test]
fn a_code_goes_to_the_institution_of_its_length_and_prefix() {
    let mut routes = [
        route("71", 20, 1),
        route("71", 22, 2),
        route("7", 18, 3),
        route("7123", 24, 4),
        route("7124", 24, 5),
        route("8", 20, 6),
        route("70999999", 24, 7),
    ];
    routes.sort_unstable();
    let table = RoutingTable::new(&routes).unwrap();
    for (beginning, total, expected) in [
        ("71", 20, Some(1)),
        ("719999", 20, Some(1)),
        ("71", 22, Some(2)),
        ("71", 18, Some(3)),
        ("79", 18, Some(3)),
        ("7123", 24, Some(4)),
        ("7124", 24, Some(5)),
        ("7125", 24, None),
        ("7122", 24, None),
        ("71", 24, None),
        ("70999999", 24, Some(7)),
        ("70999998", 24, None),
        ("72", 20, None),
        ("70", 20, None),
        ("71", 19, None),
        ("89", 20, Some(6)),
        ("9", 20, None),
        ("0", 20, None),
    ] {
        let found = table.route(&code(beginning, total)).map(|route| route.institution.0);
        assert_eq!(found, expected, "{beginning}/{total}");
    }
}

#[test]
fn an_empty_table_routes_nothing() {
    assert_eq!(RoutingTable::new(&[]).unwrap().route(&code("71", 20)), None);
}

#[test]
fn tables_in_which_a_code_could_match_twice_are_refused() {
    for (one, other, expected) in [
        (route("71", 20, 1), route("71", 20, 2), Err(RoutingError::Ambiguous)),
        (route("71", 20, 1), route("71", 20, 1), Err(RoutingError::Ambiguous)),
        (route("7", 20, 1), route("71", 20, 2), Err(RoutingError::Ambiguous)),
        (route("7", 20, 1), route("7123", 20, 1), Err(RoutingError::Ambiguous)),
        (route("7", 19, 1), route("71", 20, 2), Ok(())),
        (route("71", 20, 1), route("72", 20, 2), Ok(())),
        (route("72", 20, 1), route("71", 20, 2), Err(RoutingError::Unsorted)),
        (route("71", 20, 1), route("71", 19, 2), Err(RoutingError::Unsorted)),
    ] {
        assert_eq!(RoutingTable::new(&[one, other]).map(|_| ()), expected, "{one:?} {other:?}");
    }
}

#[test]
fn an_overlap_hides_behind_no_other_route() {
    let mut routes = [route("7", 20, 1), route("70", 19, 2), route("70", 21, 3), route("7999", 20, 4)];
    routes.sort_unstable();
    assert_eq!(RoutingTable::new(&routes).map(|_| ()), Err(RoutingError::Ambiguous));
}

fn any_route() -> impl Strategy<Value = Route> {
    ("[47-9][0-2]{0,3}", 18u8..=24, 0u32..5).prop_filter_map("a format", |(prefix, total, institution)| {
        let format = CodeFormat::new(&prefix, total).ok()?;
        Some(Route { format, institution: InstitutionId(institution) })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_table_finds_what_looking_at_every_route_finds(
        mut routes in prop::collection::vec(any_route(), 0..8),
        text in "[47-9][0-2]{4}[0-9]{13,19}",
    ) {
        routes.sort_unstable();
        let fits = |route: &&Route, text: &str| {
            text.len() == route.format.total_digits() && text.starts_with(route.format.prefix_str())
        };
        let overlap = routes.iter().enumerate().any(|(i, one)| {
            routes.iter().enumerate().any(|(j, other)| {
                i != j
                    && one.format.total_digits() == other.format.total_digits()
                    && other.format.prefix_str().starts_with(one.format.prefix_str())
            })
        });
        match RoutingTable::new(&routes) {
            Err(error) => {
                prop_assert_eq!(error, RoutingError::Ambiguous);
                prop_assert!(overlap);
            }
            Ok(table) => {
                prop_assert!(!overlap);
                let code = Code::parse(&text).unwrap();
                let expected = routes.iter().find(|route| fits(route, &text));
                prop_assert_eq!(table.route(&code), expected);
            }
        }
    }
}
