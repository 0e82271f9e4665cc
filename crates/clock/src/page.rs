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

const fn place(id: u32) -> (usize, usize) {
    let mut cursor = Cursor::PAGES;
    let mut place = (0, 0);
    let mut at = 0;
    while at <= id {
        let record = cursor.place(latch::size_of(RECORD_SIZE), LATCH_ALIGN);
        place = (record, cursor.place(8, 8));
        at += 1;
    }
    place
}

/// Bytes from one clock's record to the next one's.
pub const STRIDE: usize = place(1).0 - FIRST.0;

const FIRST: (usize, usize) = place(0);

/// Where the latch of a clock's record begins: the clock's number is its place.
#[inline(always)]
pub const fn record_offset(id: u32) -> usize {
    FIRST.0 + id as usize * STRIDE
}

/// Where a clock's source lies once more, as a scalar behind its record: what a
/// reader looks at first, so that it knows what to do before the latch has
/// answered. It may be older or newer than the record; the record's own word
/// decides.
#[inline(always)]
pub const fn source_offset(id: u32) -> usize {
    FIRST.1 + id as usize * STRIDE
}

/// Bytes in use, the header included. All fits one page of the smallest size.
pub const SIZE: usize = source_offset(Clock::RECORDS as u32 - 1) + 8;

const _: () = {
    assert!(SIZE <= vdsokit_vvar::PAGE_SIZE);
    let mut id = 0;
    while id < Clock::RECORDS as u32 {
        assert!(place(id).0 == record_offset(id) && place(id).1 == source_offset(id));
        id += 1;
    }
};

/// The variables of a clock image, for its directory: for each number a record
/// and its source. A record is so many words, and not so many named fields: the
/// names would take more room than the code.
pub const VARIABLES: [Variable<'static>; 2 * Clock::RECORDS] = {
    let mut variables = [source_variable("", ""); 2 * Clock::RECORDS];
    let mut id = 0;
    while id < Clock::RECORDS {
        let (record, source, doc) = NAMES[id];
        variables[2 * id] = Variable {
            name: record,
            unit: "",
            doc,
            version: "",
            shape: Shape::Plain(Type::Array(ScalarType::U64, Record::WORDS as u32)),
        };
        variables[2 * id + 1] = source_variable(source, "where its time comes from");
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
