//! How often something happened on a day.

/// How often something happened on a day, counted from 1970-01-01 in the operator's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OnDay {
    /// The day.
    pub day: i64,
    /// How often.
    pub count: u8,
}

impl OnDay {
    /// The count on a day. A day that has begun stays: of two servers around midnight, the one whose clock is behind opens no
    /// other.
    #[must_use]
    pub fn on(self, day: i64) -> Self {
        if day > self.day { Self { day, count: 0 } } else { self }
    }

    /// The count after one more on a day; nothing where there were so many already.
    pub fn one_more(self, day: i64, at_most: u8) -> Option<Self> {
        let known = self.on(day);
        (known.count < at_most).then(|| Self { count: known.count.saturating_add(1), ..known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_a_day_are_counted_and_no_more() {
        const AT_MOST: u8 = 20;
        let mut known = OnDay::default();
        for day in [20_000, 20_001] {
            for count in 1..=AT_MOST {
                let counted = known.one_more(day, AT_MOST);
                assert_eq!(counted, Some(OnDay { day, count }));
                known = counted.unwrap();
            }
            for day in [day, day - 1] {
                assert_eq!((known.one_more(day, AT_MOST), known.on(day).count), (None, AT_MOST));
            }
            assert_eq!(known.on(day + 1).count, 0);
        }
    }
}
