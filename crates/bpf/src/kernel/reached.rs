//! Types on the way from a symbol to a value, and what each is in vvar pages.
//!
//! A step also has whether the kernel itself describes what it leads to: not behind
//! a union, whose bytes may be those of another member, nor beyond the elements that an array is
//! known to have.

use super::Kernel;
use crate::Error;
use crate::btf::{Kind, TypeId};
use crate::expression::{Cast, Expression};
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::scalar::ScalarType;

/// A type on the way: one of BTF's, or one that a cast has put together.
#[derive(Debug, Clone)]
pub(super) enum Reached {
    Type(TypeId),
    Pointer(Box<Reached>),
    Array(Box<Reached>, u32),
}

/// Where a step leads.
pub(super) struct Stepped {
    /// In bytes.
    pub(super) offset: u64,
    pub(super) to: Reached,
    /// Whether the kernel's description covers the step: see the module.
    pub(super) described: bool,
}

/// A member of a structure, perhaps within anonymous ones.
struct Found {
    bit: u64,
    ty: TypeId,
    bitfield: bool,
    in_union: bool,
}

impl Kernel {
    pub(super) fn field(&self, reached: &Reached, name: &str) -> Result<Stepped, String> {
        let Reached::Type(id) = reached else {
            return Err(format!("has no fields, so no `{name}`"));
        };
        match self.member(*id, name, 8) {
            Some(Found {
                bit,
                bitfield: true,
                ..
            }) => Err(format!("has `{name}` as a bit-field, at bit {bit}")),
            Some(Found {
                bit, ty, in_union, ..
            }) => Ok(Stepped {
                offset: bit / 8,
                to: Reached::Type(ty),
                described: !in_union,
            }),
            None => Err(format!("has no field `{name}`")),
        }
    }

    /// Finds a member, also in anonymous structures and unions.
    fn member(&self, id: TypeId, name: &str, depth: u32) -> Option<Found> {
        let depth = depth.checked_sub(1)?;
        let in_union = self.btf.is_union(id);
        self.btf.members(id).find_map(|member| {
            let start = u64::from(member.bit);
            if member.name == name {
                return Some(Found {
                    bit: start,
                    ty: member.ty,
                    bitfield: member.bitfield,
                    in_union,
                });
            }
            if !member.name.is_empty() {
                return None;
            }
            let found = self.member(self.btf.plain(member.ty), name, depth)?;
            Some(Found {
                bit: start + found.bit,
                in_union: in_union || found.in_union,
                ..found
            })
        })
    }

    /// The names of all members, those of anonymous structures and unions among them.
    pub(super) fn field_names(&self, id: TypeId) -> Vec<String> {
        let mut names = Vec::new();
        self.collect(id, 8, &mut names);
        names
    }

    fn collect(&self, id: TypeId, depth: u32, names: &mut Vec<String>) {
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        for member in self.btf.members(id) {
            match member.name {
                "" => self.collect(self.btf.plain(member.ty), depth, names),
                name => names.push(name.to_owned()),
            }
        }
    }

    pub(super) fn element(&self, reached: &Reached, index: u64) -> Result<Stepped, String> {
        let Reached::Array(of, count) = reached else {
            return Err("has no elements".into());
        };
        // An array of unknown length has length 0 in C's headers and in casts.
        if *count != 0 && index >= u64::from(*count) {
            return Err(format!("has {count} elements, and no number {index}"));
        }
        let size = self.size(of).ok_or("has elements of unknown size")?;
        Ok(Stepped {
            offset: index.saturating_mul(size.into()),
            to: (**of).clone(),
            described: *count != 0 || index == 0,
        })
    }

    /// A type without names and qualifiers, one layer deep.
    pub(super) fn open(&self, reached: Reached) -> Reached {
        let Reached::Type(id) = reached else {
            return reached;
        };
        let id = self.btf.plain(id);
        match self.btf.kind(id) {
            Kind::Pointer(to) => Reached::Pointer(Box::new(Reached::Type(to))),
            Kind::Array(of, count) => Reached::Array(Box::new(Reached::Type(of)), count),
            _ => Reached::Type(id),
        }
    }

    pub(super) fn size(&self, reached: &Reached) -> Option<u32> {
        match reached {
            Reached::Type(id) => self.btf.size(*id),
            Reached::Pointer(_) => Some(8),
            Reached::Array(of, count) => self.size(of)?.checked_mul(*count),
        }
    }

    pub(super) fn spelled(&self, reached: &Reached) -> String {
        match reached {
            Reached::Type(id) => self.btf.spelled(*id),
            Reached::Pointer(to) => format!("{}*", self.spelled(to)),
            Reached::Array(of, count) => format!("{}[{count}]", self.spelled(of)),
        }
    }

    pub(super) fn cast(&self, cast: &Cast) -> Result<Reached, Error> {
        let id = self
            .btf
            .find(&cast.name, |kind| {
                !matches!(kind, Kind::Other | Kind::Function(_) | Kind::Variable(_))
            })
            .ok_or_else(|| Error::NoType {
                name: cast.name.clone(),
            })?;
        let mut reached = Reached::Type(id);
        for _ in 0..cast.pointers {
            reached = Reached::Pointer(Box::new(reached));
        }
        if let Some(count) = cast.array {
            reached = Reached::Array(Box::new(reached), count);
        }
        Ok(reached)
    }

    /// Whether a type is a structure around a number, or an array of these.
    pub(super) fn is_wrapped(&self, reached: &Reached) -> bool {
        match self.open(reached.clone()) {
            Reached::Array(of, _) => self.is_wrapped(&of),
            Reached::Type(id) => matches!(self.btf.kind(id), Kind::Composite(_)),
            Reached::Pointer(_) => false,
        }
    }

    /// What a value of this type is in vvar pages.
    pub(super) fn publishable(
        &self,
        expression: &Expression,
        reached: &Reached,
    ) -> Result<Type, Error> {
        let unpublishable = || Error::Unpublishable {
            expression: expression.text.clone(),
            ty: self.spelled(reached),
        };
        match self.open(reached.clone()) {
            Reached::Pointer(_) if self.allow_addresses => Ok(Type::Scalar(ScalarType::U64)),
            Reached::Pointer(_) => Err(Error::Address {
                expression: expression.text.clone(),
            }),
            Reached::Array(of, count) => {
                let element = self.open((*of).clone());
                let is_text = match &element {
                    Reached::Type(id) => self.btf.name(*id) == "char",
                    _ => false,
                };
                let (scalar, inner) = match self.publishable(expression, &element)? {
                    _ if is_text && count > 0 => return Ok(Type::Text(count)),
                    Type::Scalar(scalar) => (scalar, 1),
                    Type::Array(scalar, inner) => (scalar, inner),
                    Type::Text(_) => return Err(unpublishable()),
                };
                let all = inner.checked_mul(count).filter(|all| *all > 0);
                Ok(Type::Array(scalar, all.ok_or_else(unpublishable)?))
            }
            Reached::Type(id) => match self.btf.kind(id) {
                Kind::Integer {
                    boolean: true,
                    size: 1,
                    ..
                } => Ok(Type::Scalar(ScalarType::Bool)),
                Kind::Integer { size, signed, .. } | Kind::Enumeration { size, signed } => {
                    integer(size, signed)
                        .map(Type::Scalar)
                        .ok_or_else(unpublishable)
                }
                // atomic_t and its like: a number in a structure of its own.
                Kind::Composite(size) => {
                    let mut members = self.btf.members(id);
                    match (members.next(), members.next()) {
                        (Some(only), None) if self.btf.size(only.ty) == Some(size) => {
                            self.publishable(expression, &Reached::Type(only.ty))
                        }
                        _ => Err(unpublishable()),
                    }
                }
                _ => Err(unpublishable()),
            },
        }
    }
}

fn integer(size: u32, signed: bool) -> Option<ScalarType> {
    let is_that = |scalar: &ScalarType| {
        scalar.size() == size as usize
            && scalar.is_signed() == signed
            && !scalar.is_float()
            && *scalar != ScalarType::Bool
    };
    ScalarType::ALL.into_iter().find(is_that)
}
