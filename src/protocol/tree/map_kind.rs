//! What the members of a JSON object take in a tree.
//!
//! serde_json has two kinds of map, and any crate of a program chooses for all of them, by the feature `preserve_order`. Must not know what counts them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Up to so many items or members the room for them doubles and counts; beyond, what is not used yet is not touched either.
pub(super) const DOUBLING_MAX: usize = 128;

/// What one more member takes, in a map that had so many.
pub(super) fn bytes_of_member(before: usize) -> usize {
    match size_of::<Map<String, Value>>() > size_of::<BTreeMap<String, Value>>() {
        true => ordered(before),
        false => sorted(before),
    }
}

/// There is room for so many members as soon as there is one, then for seven, and then for twice as many each time.
const MEMBERS_MIN: usize = 3;
const MEMBERS_DOUBLING: usize = 7;

/// In a map that keeps the order of its members: a list of hash, name and value, beside it a table of places in that list, which is an eighth empty.
fn ordered(before: usize) -> usize {
    const MEMBER: usize = size_of::<(u64, String, Value)>() + (size_of::<usize>() + 1) * 8 / 7;
    const BLOCKS: usize = 2 * 16 + 16;
    let more = match before {
        0 => return BLOCKS + MEMBERS_MIN * MEMBER,
        MEMBERS_MIN => MEMBERS_DOUBLING - MEMBERS_MIN,
        DOUBLING_MAX.. => 1,
        _ if before.is_multiple_of(MEMBERS_DOUBLING)
            && (before / MEMBERS_DOUBLING).is_power_of_two() =>
        {
            before
        }
        _ => 0,
    };
    more * MEMBER
}

/// A node has room for so many members. It is parted when it is full, so that each further node has at least so many.
const NODE_MEMBERS_MAX: usize = 11;
const NODE_MEMBERS_MIN: usize = 6;

/// In a B-tree.
fn sorted(before: usize) -> usize {
    const LEAF: usize = NODE_MEMBERS_MAX * size_of::<(String, Value)>() + 2 * 16;
    /// Its share of the nodes above it, which have a pointer for each of theirs besides.
    const INNER: usize = (LEAF + (NODE_MEMBERS_MAX + 1) * size_of::<usize>()) / NODE_MEMBERS_MIN;
    match before {
        0 => LEAF,
        NODE_MEMBERS_MAX.. if before % NODE_MEMBERS_MIN == NODE_MEMBERS_MAX % NODE_MEMBERS_MIN => {
            LEAF + INNER
        }
        _ => 0,
    }
}
