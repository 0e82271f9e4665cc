//! The running kernel: its types, its symbols, and what an expression means in it.

use crate::Error;
use crate::btf::{Btf, Kind, TypeId};
use crate::expression::{Cast, Expression, Root, Step};
use crate::hook::Hook;
use crate::kallsyms::Symbols;
use crate::named::{self, UPTIME};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::scalar::ScalarType;

/// The section of the variables that every CPU has one of.
const PER_CPU: &str = ".data..percpu";

/// What is known of a kernel.
#[derive(Debug)]
pub struct Kernel {
    btf: Btf,
    /// Read when first needed: the kernel takes its time to write them down.
    symbols: OnceLock<Result<Symbols, Error>>,
    per_cpu: Vec<TypeId>,
    /// The types of the symbols that BTF describes.
    known: BTreeMap<String, TypeId>,
    allow_addresses: bool,
}

/// A value of the kernel's: its type, and how a program fetches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// As it was asked for.
    pub expression: String,
    /// Its type in the vvar pages.
    pub ty: Type,
    /// Its type in the kernel, which is `ty` or a narrower scalar.
    pub(crate) found: Type,
    pub(crate) fetch: Fetch,
    /// Whether the program has to keep addresses back.
    pub(crate) guarded: bool,
}

/// How a program comes by a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fetch {
    /// From memory: all offsets but the last lead to a pointer that is followed.
    Memory { base: Base, offsets: Vec<i32> },
    /// As the sum over all CPUs.
    Sum { variable: TypeId, offset: i16 },
    /// From the clock that counts since boot.
    Uptime,
}

/// What the first offset counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Address(u64),
    Argument(i16),
}

/// A variable that the kernel has, for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What to declare.
    pub name: String,
    /// Its type; `None` when the kernel doesn't say.
    pub ty: Option<String>,
    /// What it is, for those with a name of their own; `per CPU` for those.
    pub doc: String,
}

/// A type on the way: one of BTF's, or one that a cast has put together.
#[derive(Debug, Clone)]
enum Reached {
    Type(TypeId),
    Pointer(Box<Reached>),
    Array(Box<Reached>, u32),
}

impl Kernel {
    /// Looks at the running kernel's types. Its symbols are read when an expression
    /// first names one: per-CPU variables and hook arguments need none.
    ///
    /// # Errors
    /// When the kernel doesn't describe its types.
    pub fn running() -> Result<Self, Error> {
        Ok(Self::new(Btf::of_kernel()?))
    }

    pub(crate) fn new(btf: Btf) -> Self {
        let per_cpu = btf.section(PER_CPU);
        let variables = btf.variables();
        let known = variables
            .map(|(id, ty)| (btf.name(id).to_owned(), ty))
            .collect();
        Self {
            btf,
            symbols: OnceLock::new(),
            per_cpu,
            known,
            allow_addresses: false,
        }
    }

    /// Lets pointers and other addresses be published. Every process will read
    /// them, and they tell an attacker where things are.
    #[must_use]
    pub fn allow_addresses(mut self) -> Self {
        self.allow_addresses = true;
        self
    }

    /// What an expression, or one of [`named::NAMED`], means in this kernel, in a
    /// program on `hook`.
    ///
    /// # Errors
    /// When it means nothing, or something that can't or mustn't be published.
    pub fn resolve(&self, text: &str, hook: &Hook) -> Result<Value, Error> {
        let text = named::named(text).map_or(text, |named| named.expression);
        if text == UPTIME {
            let ty = Type::Scalar(ScalarType::U64);
            return Ok(self.value(text, ty, ty, Fetch::Uptime));
        }
        let expression = Expression::parse(text)?;
        match &expression.root {
            Root::Argument(number) => self.argument(&expression, *number, hook),
            Root::Symbol(symbol) if named::is_secret(symbol) => Err(Error::Secret {
                symbol: symbol.clone(),
            }),
            Root::Symbol(symbol) => match self.per_cpu_variable(symbol) {
                Some(variable) => self.sum(&expression, variable),
                None => self.variable(&expression, symbol),
            },
        }
    }

    /// What can be published, by names that contain `pattern`.
    #[must_use]
    pub fn list(&self, pattern: &str) -> Vec<Listed> {
        let named = named::NAMED.iter().map(|named| Listed {
            name: named.name.into(),
            ty: self
                .resolve(named.name, &Hook::Tick)
                .ok()
                .map(|value| value.ty.to_string()),
            doc: named.doc.into(),
        });
        let per_cpu = self.per_cpu.iter().map(|&id| Listed {
            name: self.btf.name(id).into(),
            ty: self.variable_type(id).map(|ty| self.btf.spelled(ty)),
            doc: "per CPU".into(),
        });
        let symbols = self
            .symbols()
            .iter()
            .flat_map(Symbols::names)
            .map(|name| Listed {
                name: name.into(),
                ty: self
                    .known
                    .get(name)
                    .map(|&ty| self.btf.spelled(ty))
                    .or_else(|| named::type_of(name).map(str::to_owned)),
                doc: String::new(),
            });
        let mut list: Vec<Listed> = named.chain(per_cpu).chain(symbols).collect();
        list.retain(|row| row.name.contains(pattern) && !named::is_secret(&row.name));
        list
    }

    /// The number of a function's or tracepoint's type, for a program to attach to.
    pub(crate) fn hook_type(&self, hook: &Hook) -> Result<TypeId, Error> {
        let found = match hook.function() {
            Some(function) => self
                .btf
                .find(function, |kind| matches!(kind, Kind::Function(_))),
            None => self.btf.find(&hook.tracepoint_type(), |kind| {
                matches!(kind, Kind::Alias(_))
            }),
        };
        found.ok_or_else(|| Error::NoHook {
            hook: hook.to_string(),
        })
    }

    fn value(&self, text: &str, ty: Type, found: Type, fetch: Fetch) -> Value {
        Value {
            expression: text.into(),
            ty,
            found,
            fetch,
            guarded: !self.allow_addresses,
        }
    }

    fn per_cpu_variable(&self, symbol: &str) -> Option<TypeId> {
        let mut variables = self.per_cpu.iter().copied();
        variables.find(|&id| self.btf.name(id) == symbol)
    }

    fn symbols(&self) -> &Result<Symbols, Error> {
        self.symbols.get_or_init(Symbols::of_kernel)
    }

    fn variable_type(&self, variable: TypeId) -> Option<TypeId> {
        match self.btf.kind(variable) {
            Kind::Variable(ty) => Some(ty),
            _ => None,
        }
    }

    fn variable(&self, expression: &Expression, symbol: &str) -> Result<Value, Error> {
        let address = match self.symbols() {
            Ok(symbols) => symbols.address(symbol)?,
            Err(Error::HiddenSymbols) => return Err(Error::HiddenSymbols),
            Err(_) => Err(std::io::ErrorKind::NotFound.into())
                .map_err(Error::file(crate::kallsyms::KALLSYMS))?,
        };
        let base = Base::Address(address);
        let root = match (&expression.cast, self.known.get(symbol)) {
            (Some(cast), _) => self.cast(cast)?,
            (None, Some(&ty)) => Reached::Type(ty),
            (None, None) => match (named::type_of(symbol), expression.scalar) {
                (Some(ty), _) => self.cast(&Cast::parse(ty)?)?,
                // A number where nothing else is known is what it is said to be.
                (None, Some((scalar, count))) if expression.steps.is_empty() => {
                    let ty = declared(scalar, count);
                    let fetch = Fetch::Memory {
                        base,
                        offsets: vec![0],
                    };
                    return Ok(self.value(&expression.text, ty, ty, fetch));
                }
                (None, _) => {
                    return Err(Error::UnknownType {
                        symbol: symbol.into(),
                    });
                }
            },
        };
        self.memory(expression, base, root)
    }

    fn argument(
        &self,
        expression: &Expression,
        number: usize,
        hook: &Hook,
    ) -> Result<Value, Error> {
        let no_step = |what: &str| Error::NoStep {
            expression: expression.text.clone(),
            ty: hook.to_string(),
            what: what.into(),
        };
        let mut ty = self.hook_type(hook)?;
        // A tracepoint's type is a name for a pointer to a prototype whose first
        // parameter is not the program's.
        let mut hidden = 0;
        if let Kind::Alias(to) = self.btf.kind(ty) {
            if let Kind::Pointer(prototype) = self.btf.kind(self.btf.plain(to)) {
                (ty, hidden) = (prototype, 1);
            }
        } else if let Kind::Function(prototype) = self.btf.kind(ty) {
            ty = prototype;
        }
        let parameter = self.btf.parameters(ty).nth(number + hidden);
        let parameter = parameter.ok_or_else(|| no_step("has fewer arguments"))?;
        let slot = i16::try_from(number).map_err(|_| no_step("has fewer arguments"))?;
        let root = match (&expression.cast, self.open(Reached::Type(parameter))) {
            (Some(cast), _) => self.cast(cast)?,
            (None, Reached::Pointer(to)) => *to,
            (None, _) => return Err(no_step("has no pointer as that argument")),
        };
        self.memory(expression, Base::Argument(slot), root)
    }

    fn sum(&self, expression: &Expression, variable: TypeId) -> Result<Value, Error> {
        let root = Reached::Type(self.variable_type(variable).unwrap_or(0));
        let (offsets, reached) = self.walk(expression, root)?;
        let found = self.publishable(expression, &reached)?;
        let place = match (offsets.as_slice(), found) {
            ([offset], Type::Scalar(_)) => i16::try_from(*offset).ok(),
            _ => None,
        };
        let offset = place.ok_or_else(|| Error::Unpublishable {
            expression: expression.text.clone(),
            ty: format!("{} on every CPU", self.spelled(&reached)),
        })?;
        let ty = agreed(expression, found)?;
        let fetch = Fetch::Sum { variable, offset };
        Ok(self.value(&expression.text, ty, found, fetch))
    }

    fn memory(&self, expression: &Expression, base: Base, root: Reached) -> Result<Value, Error> {
        let (offsets, reached) = self.walk(expression, root)?;
        let found = self.publishable(expression, &reached)?;
        let ty = agreed(expression, found)?;
        let fetch = Fetch::Memory { base, offsets };
        Ok(self.value(&expression.text, ty, found, fetch))
    }

    /// Follows the steps; returns the offsets and the type at the end.
    fn walk(&self, expression: &Expression, root: Reached) -> Result<(Vec<i32>, Reached), Error> {
        let mut offsets = Vec::new();
        let mut offset = 0_u64;
        let mut reached = self.open(root);
        let no_step = |reached: &Reached, what: String| Error::NoStep {
            expression: expression.text.clone(),
            ty: self.spelled(reached),
            what,
        };
        let narrow = |offset: u64, reached: &Reached| {
            i32::try_from(offset).map_err(|_| no_step(reached, "is too large".into()))
        };
        for step in &expression.steps {
            if let Reached::Pointer(to) = reached {
                offsets.push(narrow(offset, &Reached::Pointer(to.clone()))?);
                offset = 0;
                reached = self.open(*to);
                // An index into what a pointer leads to is an index into an array.
                if !matches!(step, Step::Field(_)) {
                    reached = Reached::Array(Box::new(reached), 0);
                }
            }
            let next = match step {
                Step::Field(name) => self.field(&reached, name),
                Step::Index(index) => self.element(&reached, *index),
                Step::Enumerator(name) => match self.btf.enumerator(name) {
                    Some(value) => self.element(&reached, u64::try_from(value).unwrap_or(u64::MAX)),
                    None => Err(format!(
                        "can't be indexed: no enumerator is called `{name}`"
                    )),
                },
            };
            let (more, next) = next.map_err(|what| no_step(&reached, what))?;
            offset = offset.saturating_add(more);
            reached = self.open(next);
        }
        offsets.push(narrow(offset, &reached)?);
        Ok((offsets, reached))
    }

    fn field(&self, reached: &Reached, name: &str) -> Result<(u64, Reached), String> {
        let Reached::Type(id) = reached else {
            return Err(format!("has no fields, so no `{name}`"));
        };
        match self.member(*id, name, 8) {
            Some((bit, _, true)) => Err(format!("has `{name}` as a bit-field, at bit {bit}")),
            Some((bit, ty, false)) => Ok((bit / 8, Reached::Type(ty))),
            None => Err(format!("has no field `{name}`")),
        }
    }

    /// Finds a member, also in anonymous structures and unions.
    fn member(&self, id: TypeId, name: &str, depth: u32) -> Option<(u64, TypeId, bool)> {
        let depth = depth.checked_sub(1)?;
        self.btf.members(id).find_map(|member| {
            let start = u64::from(member.bit);
            if member.name == name {
                return Some((start, member.ty, member.bitfield));
            }
            if !member.name.is_empty() {
                return None;
            }
            let (bit, ty, bitfield) = self.member(self.btf.plain(member.ty), name, depth)?;
            Some((start + bit, ty, bitfield))
        })
    }

    fn element(&self, reached: &Reached, index: u64) -> Result<(u64, Reached), String> {
        let Reached::Array(of, count) = reached else {
            return Err("has no elements".into());
        };
        // An array of unknown length has length 0 in C's headers and in casts.
        if *count != 0 && index >= u64::from(*count) {
            return Err(format!("has {count} elements, and no number {index}"));
        }
        let size = self.size(of).ok_or("has elements of unknown size")?;
        Ok((index.saturating_mul(size.into()), (**of).clone()))
    }

    /// A type without names and qualifiers, one layer deep.
    fn open(&self, reached: Reached) -> Reached {
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

    fn size(&self, reached: &Reached) -> Option<u32> {
        match reached {
            Reached::Type(id) => self.btf.size(*id),
            Reached::Pointer(_) => Some(8),
            Reached::Array(of, count) => self.size(of)?.checked_mul(*count),
        }
    }

    fn spelled(&self, reached: &Reached) -> String {
        match reached {
            Reached::Type(id) => self.btf.spelled(*id),
            Reached::Pointer(to) => format!("{}*", self.spelled(to)),
            Reached::Array(of, count) => format!("{}[{count}]", self.spelled(of)),
        }
    }

    fn cast(&self, cast: &Cast) -> Result<Reached, Error> {
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

    /// What a value of this type is in vvar pages.
    fn publishable(&self, expression: &Expression, reached: &Reached) -> Result<Type, Error> {
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
    let of = |scalar: &ScalarType| {
        scalar.size() == size as usize
            && scalar.is_signed() == signed
            && !scalar.is_float()
            && *scalar != ScalarType::Bool
    };
    ScalarType::ALL.into_iter().find(of)
}

fn declared(scalar: ScalarType, count: Option<u32>) -> Type {
    match count {
        Some(count) => Type::Array(scalar, count),
        None => Type::Scalar(scalar),
    }
}

/// The type in the pages: the kernel's, or a declared one that holds all of it.
fn agreed(expression: &Expression, found: Type) -> Result<Type, Error> {
    let Some((scalar, count)) = expression.scalar else {
        return Ok(found);
    };
    let wanted = declared(scalar, count);
    let holds = match (wanted, found) {
        (Type::Scalar(wide), Type::Scalar(narrow)) => {
            let widens = wide.size() > narrow.size()
                && !wide.is_float()
                && (wide.is_signed() || !narrow.is_signed());
            wide == narrow || widens
        }
        (wanted, found) => wanted == found,
    };
    if holds {
        return Ok(wanted);
    }
    Err(Error::Mismatch {
        expression: expression.text.clone(),
        declared: wanted.to_string(),
        found: found.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::tests::Writer;

    /// A kernel of a few types and symbols.
    fn kernel() -> Kernel {
        let mut btf = Writer::default();
        let int = btf.int("int", 4, 1);
        let long = btf.int("unsigned long", 8, 0);
        let long_long = btf.int("long long", 8, 1);
        let char = btf.int("char", 1, 1);
        let atomic = btf.structure("atomic64_t", 8, &[("counter", long_long, 0)]);
        let text = btf.array(char, 65);
        let stat = btf.array(atomic, 4);
        let zone = btf.structure("zone", 40, &[("free", long, 0), ("vm_stat", stat, 8)]);
        let zones = btf.array(zone, 3);
        let inner = btf.structure("", 8, &[("hidden", int, 4)]);
        let node = btf.structure("pglist_data", 136, &[("zones", zones, 8), ("", inner, 128)]);
        let node_pointer = btf.pointer(node);
        btf.structure(
            "uts_namespace",
            80,
            &[("release", text, 8), ("node", node_pointer, 73)],
        );
        btf.enumeration(&[("NR_FREE_PAGES", 2)]);
        let queue = btf.structure(
            "rq",
            16,
            &[("nr_running", int, 4), ("curr", node_pointer, 8)],
        );
        btf.per_cpu(&[("runqueues", queue), ("process_counts", long)]);
        btf.function("update_vsyscall", &[node_pointer]);
        let symbols = "ffffffff82000000 D init_uts_ns\nffffffff82000100 D node_data\n\
                       ffffffff82000200 B nr_threads\nffffffff82000300 D net_secret\n";
        let btf = Btf::parse(btf.finish()).unwrap();
        let kernel = Kernel::new(btf);
        kernel.symbols.set(Symbols::parse(symbols)).unwrap();
        kernel
    }

    fn offsets(text: &str) -> Vec<i32> {
        match kernel().resolve(text, &Hook::Tick).unwrap().fetch {
            Fetch::Memory { offsets, .. } => offsets,
            other => panic!("{other:?}"),
        }
    }

    fn ty(text: &str) -> String {
        let value = kernel().resolve(text, &Hook::Tick);
        value.unwrap().ty.to_string()
    }

    #[test]
    fn paths_become_offsets() {
        assert_eq!(offsets("nr_threads:i32"), [0]);
        assert_eq!(offsets("init_uts_ns.release"), [8]);
        assert_eq!(offsets("init_uts_ns.node.hidden"), [73, 132]);
        assert_eq!(offsets("node_data[1].zones[2].free"), [8, 88]);
        let last = "(pglist_data*[])node_data[0].zones[1].vm_stat[NR_FREE_PAGES]";
        assert_eq!(offsets(last), [0, 72]);
        assert_eq!(offsets("arg0.zones[1].free"), [48]);
    }

    #[test]
    fn types_are_the_kernels() {
        assert_eq!(ty("init_uts_ns.release"), "str[65]");
        assert_eq!(ty("node_data[0].zones[0].vm_stat"), "i64[4]");
        assert_eq!(ty("node_data[0].zones[0].vm_stat[1]"), "i64");
        assert_eq!(ty("runqueues.nr_running"), "i32");
        assert_eq!(ty("runqueues.nr_running:i64"), "i64");
        assert_eq!(ty("process_counts"), "u64");
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_reason() {
        let error = |text: &str| kernel().resolve(text, &Hook::Tick).unwrap_err();
        assert!(matches!(error("nr_threads"), Error::UnknownType { .. }));
        assert!(matches!(
            error("no_such"),
            Error::UnknownType { .. } | Error::NoSymbol { .. }
        ));
        assert!(matches!(error("(no_such)nr_threads"), Error::NoType { .. }));
        assert!(matches!(error("init_uts_ns.nothing"), Error::NoStep { .. }));
        assert!(matches!(
            error("init_uts_ns.release.x"),
            Error::NoStep { .. }
        ));
        assert!(matches!(
            error("node_data[0].zones[3].free"),
            Error::NoStep { .. }
        ));
        assert!(matches!(
            error("node_data[0].zones[NR_NONE].free"),
            Error::NoStep { .. }
        ));
        assert!(matches!(
            error("node_data[0].zones[0]"),
            Error::Unpublishable { .. }
        ));
        assert!(matches!(error("init_uts_ns.node"), Error::Address { .. }));
        assert!(matches!(error("runqueues.curr"), Error::Address { .. }));
        assert!(matches!(
            error("runqueues.curr.zones[0].free"),
            Error::Unpublishable { .. }
        ));
        assert!(matches!(error("net_secret:u64"), Error::Secret { .. }));
        assert!(matches!(
            error("process_counts:u32"),
            Error::Mismatch { .. }
        ));
        assert!(matches!(
            error("runqueues.nr_running:u64"),
            Error::Mismatch { .. }
        ));
        assert!(matches!(error("arg1.free"), Error::NoStep { .. }));
    }

    #[test]
    fn addresses_are_published_only_when_allowed() {
        let kernel = kernel().allow_addresses();
        let value = kernel.resolve("init_uts_ns.node", &Hook::Tick).unwrap();
        assert_eq!(value.ty.to_string(), "u64");
        assert!(!value.guarded);
        // A secret stays one.
        assert!(kernel.resolve("net_secret:u64", &Hook::Tick).is_err());
    }

    #[test]
    fn hidden_symbols_hide_no_per_cpu_variables() {
        let mut kernel = kernel();
        kernel.symbols = Err(Error::HiddenSymbols).into();
        assert!(kernel.resolve("process_counts", &Hook::Tick).is_ok());
        let hidden = kernel.resolve("nr_threads:i32", &Hook::Tick);
        assert!(matches!(hidden, Err(Error::HiddenSymbols)));
    }

    #[test]
    fn a_hook_that_is_not_there_is_said() {
        let hook = Hook::Exit("no_such".into());
        let error = kernel().resolve("arg0.free", &hook).unwrap_err();
        assert!(matches!(error, Error::NoHook { .. }));
    }

    #[test]
    fn the_list_has_names_per_cpu_variables_and_symbols_but_no_secrets() {
        let kernel = kernel();
        let names = |pattern: &str| -> Vec<String> {
            kernel
                .list(pattern)
                .into_iter()
                .map(|row| row.name)
                .collect()
        };
        assert_eq!(names("nr_threads"), ["nr_threads"]);
        assert_eq!(names("process"), ["processes", "process_counts"]);
        assert!(names("secret").is_empty());
    }
}
