//! What the reader accepts, what it refuses, and that what the writer writes is read back the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use tlv::{Element, Error, Reader, Tag, Writer, find, only};

const SHORT: Tag = Tag::new(0xC1);
const LONG: Tag = Tag::new(0x9F70);
const TEMPLATE: Tag = Tag::new(0xE1);

#[test]
fn tags_of_one_two_and_three_bytes_are_known_and_others_refused() {
    for good in [0x01, 0x84, 0xC1, 0xE1, 0x9F70, 0xDF20, 0x7F21, 0x5F50, 0x1F_81_00, 0xDF_FF_7F] {
        assert_eq!(Tag::from_u32(good).map(Tag::to_u32), Ok(good), "{good:X}");
    }
    for bad in [0, 0x1F, 0xFF, 0xC101, 0x9F80, 0x9FFF, 0x9F_80_01, 0x9F_81_80, 0x84_81_01, 0x0100_0001, u32::MAX] {
        assert_eq!(Tag::from_u32(bad), Err(Error::BadTag), "{bad:X}");
    }
}

#[test]
fn a_constructed_tag_says_so() {
    assert!(TEMPLATE.is_constructed());
    assert!(Tag::new(0x7F21).is_constructed());
    assert!(!SHORT.is_constructed());
    assert!(!LONG.is_constructed());
    assert!(!Tag::new(0x9F_A0_20).is_constructed());
}

#[test]
fn lengths_are_written_in_their_shortest_form() {
    for (length, header) in [
        (0, &[0xC1, 0x00][..]),
        (0x7F, &[0xC1, 0x7F]),
        (0x80, &[0xC1, 0x81, 0x80]),
        (0xFF, &[0xC1, 0x81, 0xFF]),
        (0x100, &[0xC1, 0x82, 0x01, 0x00]),
        (0xFFFF, &[0xC1, 0x82, 0xFF, 0xFF]),
    ] {
        let value = vec![7; length];
        let mut buffer = vec![0; length + 4];
        let mut writer = Writer::new(&mut buffer);
        writer.put(SHORT, &value).unwrap();
        let plain = writer.finish().to_vec();
        assert_eq!(plain, [header, &value].concat());
        assert_eq!(only(&plain), Ok(Element { tag: SHORT, value: &value }));
    }
}

#[test]
fn a_template_makes_room_for_its_own_length_field() {
    for (body, header) in [
        (0x7D, &[0xE1, 0x7F, 0xC1, 0x7D][..]),
        (0x7E, &[0xE1, 0x81, 0x80, 0xC1, 0x7E]),
        (0xFC, &[0xE1, 0x81, 0xFF, 0xC1, 0x81, 0xFC]),
        (0xFD, &[0xE1, 0x82, 0x01, 0x00, 0xC1, 0x81, 0xFD]),
    ] {
        let value = vec![9; body];
        let mut buffer = vec![0; header.len() + body];
        let mut writer = Writer::new(&mut buffer);
        writer.nest(TEMPLATE, |inner| inner.put(SHORT, &value)).unwrap();
        assert_eq!(writer.finish(), [header, &value].concat());
    }
}

#[test]
fn a_value_too_long_for_two_length_bytes_is_refused() {
    let mut buffer = vec![0; 0x1_0010];
    let mut writer = Writer::new(&mut buffer);
    assert_eq!(writer.put(SHORT, &vec![0; 0x1_0000]), Err(Error::ValueTooLong));
    assert!(writer.is_empty());
}

#[test]
fn indefinite_and_oversized_lengths_are_refused() {
    for bad in [&[0xC1, 0x80, 0x00, 0x00][..], &[0xC1, 0x83, 0, 0, 1, 0], &[0xC1, 0xFF], &[0xC1, 0x84]] {
        assert_eq!(only(bad), Err(Error::BadLength), "{bad:X?}");
    }
}

#[test]
fn a_longer_length_field_than_needed_is_read() {
    assert_eq!(find(&[0xC1, 0x82, 0x00, 0x01, 0x05], SHORT), Ok(Some(&[5][..])));
}

#[test]
fn padding_between_objects_is_refused() {
    assert_eq!(find(&[0x00, 0xC1, 0x00], SHORT), Err(Error::BadTag));
}

#[test]
fn data_cut_anywhere_are_refused() {
    let mut buffer = [0; 400];
    let mut writer = Writer::new(&mut buffer);
    writer.nest(Tag::new(0xBF_A0_20), |w| w.put(LONG, &[1; 300])).unwrap();
    let whole = writer.finish();
    for cut in 0..whole.len() {
        assert_eq!(only(&whole[..cut]), Err(Error::Truncated), "cut at {cut}");
    }
    assert!(only(whole).is_ok());
    assert_eq!(only(&[whole, &[0]].concat()), Err(Error::Trailing));
}

#[test]
fn after_a_fault_the_reader_ends() {
    let mut reader = Reader::new(&[0xC1, 0x01, 0x05, 0xC2, 0x09, 0x01]);
    assert!(matches!(reader.next(), Some(Ok(_))));
    assert_eq!(reader.next(), Some(Err(Error::Truncated)));
    assert_eq!(reader.next(), None);
    assert_eq!(reader.next(), None);
}

#[test]
fn a_put_that_does_not_fit_changes_nothing() {
    let mut buffer = [0; 7];
    let mut writer = Writer::new(&mut buffer);
    writer.put(SHORT, &[1]).unwrap();
    assert_eq!(writer.put(LONG, &[1, 2]), Err(Error::NoRoom));
    assert_eq!(writer.nest(TEMPLATE, |w| w.put(SHORT, &[1])), Err(Error::NoRoom));
    assert_eq!(writer.written(), [0xC1, 0x01, 0x01]);
    writer.put(LONG, &[2]).unwrap();
    assert_eq!(writer.finish(), [0xC1, 0x01, 0x01, 0x9F, 0x70, 0x01, 0x02]);
}

#[test]
fn tags_print_as_the_hex_people_write() {
    assert_eq!(Tag::new(0x9F70).to_string(), "9F70");
    assert_eq!(Tag::new(0x01).to_string(), "01");
    assert_eq!(format!("{:?}", Tag::new(0xC1)), "Tag(C1)");
}

fn any_tag() -> impl Strategy<Value = Tag> {
    prop_oneof![0_u32..=0xFF, 0_u32..=0xFFFF, 0_u32..=0xFF_FFFF]
        .prop_filter_map("well-formed", |number| Tag::from_u32(number).ok())
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        objects in prop::collection::vec((any_tag(), prop::collection::vec(any::<u8>(), 0..300)), 0..8),
        outer in any_tag(),
    ) {
        let mut buffer = vec![0; 4096];
        let mut writer = Writer::new(&mut buffer);
        writer.nest(outer, |inner| objects.iter().try_for_each(|(tag, value)| inner.put(*tag, value))).unwrap();
        let element = only(writer.finish()).unwrap();
        prop_assert_eq!(element.tag, outer);
        let read: Vec<_> = element.children().map(|e| e.map(|e| (e.tag, e.value.to_vec())).unwrap()).collect();
        prop_assert_eq!(read, objects);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_and_within_bounds(data in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut total = 0;
        for element in Reader::new(&data) {
            let Ok(element) = element else { break };
            total += element.tag.encoded_bytes() + 1 + element.value.len();
            prop_assert!(data.as_ptr_range().contains(&element.value.as_ptr()) || element.value.is_empty());
        }
        prop_assert!(total <= data.len());
    }
}
