//! Values that the component makes: the limits of every range, and text beyond ASCII.

use crate::contracts::{Constructs, ConstructsChoice, Kind, Point};

pub fn constructs() -> Constructs {
    Constructs {
        flag: true,
        int: i32::MIN,
        long: i64::MAX,
        float: 0.1,
        double: -0.0,
        string: "grüße, 世界 🧵\0\n".into(),
        uuid: "0f8fad5b-d9cb-469f-a165-70867728950e".into(),
        bytes: (0..=255).collect(),
        four: vec![0, 127, 128, 255],
        day: -719_162,
        time_millis: 86_399_999,
        time_micros: 86_399_999_999,
        at_millis: -1,
        at_micros: 1_700_000_000_000_001,
        local_millis: 9_007_199_254_740_993,
        price: "-1234567890123456789012345678.90".into(),
        rate: "0.000001".into(),
        class: "first".into(),
        type_: Kind::InTransit,
        point: Point { x: -1, y: Some(f64::MAX) },
        longs: vec![i64::MIN, -1, 0, 9_007_199_254_740_993],
        points: vec![Point { x: 1, y: None }, Point { x: 2, y: Some(0.1) }],
        rows: vec![vec![], vec![None, Some(String::new())], vec![Some("a".into())]],
        map: vec![("".into(), 1.5), ("ö".into(), f64::INFINITY)],
        kinds: vec![("a".into(), None), ("b".into(), Some(Kind::Default)), ("c".into(), Some(Kind::Red2))],
        maybe: Some(String::new()),
        perhaps: Some(Point { x: i32::MAX, y: None }),
        flags: Some(vec![true, false]),
        choice: ConstructsChoice::Null,
        next: None,
    }
}

/// One of each branch.
pub fn choices() -> Vec<ConstructsChoice> {
    vec![
        ConstructsChoice::Null,
        ConstructsChoice::String("text".into()),
        ConstructsChoice::Long(i64::MIN),
        ConstructsChoice::Boolean(false),
        ConstructsChoice::Double(f64::MIN_POSITIVE),
        ConstructsChoice::Bytes(vec![1, 2]),
        ConstructsChoice::Point(Point { x: 0, y: Some(-0.5) }),
        ConstructsChoice::Kind(Kind::None),
        ConstructsChoice::Array(vec![Point { x: 3, y: None }]),
        ConstructsChoice::Map(vec![("k".into(), "v".into())]),
    ]
}
