//! Where the records lie in the vvar pages, and what they are called there.

use crate::clocks::Clock;
use crate::record::Record;
use vdsokit_vvar::directory::Variable;
use vdsokit_vvar::latch;
use vdsokit_vvar::layout::{Cursor, LATCH_ALIGN, Shape, Type};
use vdsokit_vvar::scalar::ScalarType;

/// The link of a clock image that is led to a word of the process's own, in which it counts how
/// often it has read a clock: the ticks of [`crate::Source::Reads`].
pub const READS: &str = "vdsokit_reads";

/// Bytes of a record.
pub const RECORD_SIZE: usize = Record::WORDS * 8;

/// The place of the nth variable, and of the end behind it: all records, then all sources.
const fn place(nth: usize) -> usize {
    let mut cursor = Cursor::PAGES;
    let mut place = 0;
    let mut at = 0;
    while at <= nth {
        place = if at < Clock::RECORDS {
            cursor.place(latch::size_of(RECORD_SIZE), LATCH_ALIGN)
        } else {
            cursor.place(8, 8)
        };
        at += 1;
    }
    place
}

/// Bytes from one clock's record to the next one's.
pub const STRIDE: usize = place(1) - place(0);

/// Where the latch of a clock's record begins: the clock's number is its place.
#[inline(always)]
pub const fn record_offset(id: u32) -> usize {
    const FIRST: usize = place(0);
    FIRST + id as usize * STRIDE
}

/// Where a clock's source lies once more, as a scalar behind all records: what a
/// reader looks at first, so that it knows what to do before the latch has
/// answered. It may be older or newer than the record; the record's own word
/// decides.
///
/// Side by side, so that the clock's number is all of the address that has to be computed.
#[inline(always)]
pub const fn source_offset(id: u32) -> usize {
    const FIRST: usize = place(Clock::RECORDS);
    FIRST + id as usize * 8
}

/// Bytes in use, the header included. All fits one page of the smallest size.
pub const SIZE: usize = source_offset(Clock::RECORDS as u32 - 1) + 8;

const _: () = {
    assert!(SIZE <= vdsokit_vvar::PAGE_SIZE);
    let mut id = 0;
    while id < Clock::RECORDS as u32 {
        let nth = id as usize;
        assert!(place(nth) == record_offset(id));
        assert!(place(Clock::RECORDS + nth) == source_offset(id));
        id += 1;
    }
};

/// The name of the record of the clock with this number.
pub const fn record_name(id: u32) -> &'static str {
    NAMES[id as usize].0
}

/// The name of the source of the clock with this number.
pub const fn source_name(id: u32) -> &'static str {
    NAMES[id as usize].1
}

/// The variables of a clock image, for its directory: for each number a record,
/// and then for each its source. A record is so many words, and not so many named fields: the
/// names would take more room than the code.
pub const VARIABLES: [Variable<'static>; 2 * Clock::RECORDS] = {
    let mut variables = [source_variable("", ""); 2 * Clock::RECORDS];
    let mut id = 0;
    while id < Clock::RECORDS {
        let (record, source, doc) = NAMES[id];
        variables[id] = Variable {
            name: record,
            unit: "",
            doc,
            version: "",
            shape: Shape::Plain(Type::Array(ScalarType::U64, Record::WORDS as u32)),
        };
        variables[Clock::RECORDS + id] = source_variable(source, "where its time comes from");
        id += 1;
    }
    variables
};

const fn source_variable(name: &'static str, doc: &'static str) -> Variable<'static> {
    Variable {
        name,
        unit: "",
        doc,
        version: "",
        shape: Shape::Plain(Type::Scalar(ScalarType::U64)),
    }
}

/// Names of a record and of its source, and what they are.
const NAMES: [(&str, &str, &str); Clock::RECORDS] = [
    ("realtime", "realtime_source", "CLOCK_REALTIME"),
    ("monotonic", "monotonic_source", "CLOCK_MONOTONIC"),
    ("clock_2", "clock_2_source", "not used"),
    ("clock_3", "clock_3_source", "not used"),
    ("raw", "raw_source", "CLOCK_MONOTONIC_RAW"),
    (
        "realtime_coarse",
        "realtime_coarse_source",
        "CLOCK_REALTIME_COARSE",
    ),
    (
        "monotonic_coarse",
        "monotonic_coarse_source",
        "CLOCK_MONOTONIC_COARSE",
    ),
    ("boottime", "boottime_source", "CLOCK_BOOTTIME"),
    (
        "realtime_alarm",
        "realtime_alarm_source",
        "CLOCK_REALTIME_ALARM",
    ),
    (
        "boottime_alarm",
        "boottime_alarm_source",
        "CLOCK_BOOTTIME_ALARM",
    ),
    ("clock_10", "clock_10_source", "not used"),
    ("tai", "tai_source", "CLOCK_TAI"),
];
