//! The running kernel: its types, its symbols, and what an expression means in it.

mod members;
mod reached;
mod shortcut;

use crate::Error;
use crate::btf::{Btf, Kind, TypeId};
use crate::expression::{Cast, Expression, Root, Step};
use crate::hook::Hook;
use crate::kallsyms::Symbols;
use crate::named::{self, UPTIME};
use reached::Reached;
pub(crate) use shortcut::{BootTime, TypeCast};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use value::covered_by_words;
pub(crate) use value::{Base, Fetch, Guard};
pub use value::{Listed, Value};
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
            return Ok(Value {
                expression: text.into(),
                ty,
                found: ty,
                fetch: Fetch::Uptime,
                guard: Guard::Off,
            });
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

    /// As [`Kernel::resolve`], for a variable that was declared with this type.
    ///
    /// # Errors
    /// Also when the kernel has another type that this one doesn't hold.
    pub fn resolve_as(&self, text: &str, ty: Type, hook: &Hook) -> Result<Value, Error> {
        let text = named::named(text).map_or(text, |named| named.expression);
        let says_type = text.contains(':');
        let value = match ty {
            // A declared type widens the kernel's, or stands where the kernel has none.
            Type::Scalar(_) | Type::Array(..) if !says_type && text != UPTIME => {
                self.resolve(&format!("{text}:{ty}"), hook)?
            }
            _ => self.resolve(text, hook)?,
        };
        if value.ty == ty {
            return Ok(value);
        }
        Err(Error::Mismatch {
            expression: text.into(),
            declared: ty.to_string(),
            found: value.ty.to_string(),
        })
    }

    /// The fields of the structure, or the elements of the array, that an expression
    /// leads to: what it may go on with.
    ///
    /// # Errors
    /// When it means nothing, or the kernel does not describe what is there.
    pub fn inside(&self, text: &str) -> Result<Vec<Listed>, Error> {
        let expression = Expression::parse(text.trim_end_matches('.'))?;
        let root = match &expression.root {
            Root::Symbol(symbol) => match self.per_cpu_variable(symbol) {
                Some(variable) => Reached::Type(self.variable_type(variable).unwrap_or(0)),
                None => self
                    .root(&expression, symbol)?
                    .ok_or_else(|| Error::UnknownType {
                        symbol: symbol.clone(),
                    })?,
            },
            Root::Argument(number) => self.parameter(&expression, *number, &Hook::Tick)?,
        };
        let mut reached = self.walk(&expression, root)?.reached;
        while let Reached::Pointer(to) = reached {
            reached = self.open(*to);
        }
        let text = &expression.text;
        let row = |name: String, to: &Reached| Listed {
            name,
            ty: Some(self.spelled(to)),
            doc: match self.publishable(&expression, to) {
                Ok(ty) => format!("{ty}, as it would be published"),
                Err(Error::Address { .. }) => "an address".into(),
                Err(_) => String::new(),
            },
        };
        Ok(match &reached {
            Reached::Array(of, count) => {
                vec![row(format!("{text}[{}]", count.saturating_sub(1)), of)]
            }
            Reached::Type(id) => self
                .field_names(*id)
                .into_iter()
                .filter_map(|name| {
                    let field = self.field(&reached, &name).ok()?;
                    Some(row(format!("{text}.{name}"), &field.to))
                })
                .collect(),
            Reached::Pointer(_) => Vec::new(),
        })
    }

    /// What this kernel can publish, by names that contain `pattern`.
    #[must_use]
    pub fn list(&self, pattern: &str) -> Vec<Listed> {
        let named = named::NAMED.iter().filter_map(|named| {
            let value = self.resolve(named.name, &Hook::Tick).ok()?;
            Some(Listed {
                name: named.name.into(),
                ty: Some(value.ty.to_string()),
                doc: named.doc.into(),
            })
        });
        let per_cpu = self.per_cpu.iter().filter(|&&id| self.is_found(id));
        let per_cpu = per_cpu.map(|&id| Listed {
            name: self.btf.name(id).into(),
            ty: self.variable_type(id).map(|ty| self.btf.spelled(ty)),
            doc: "per CPU".into(),
        });
        let symbols = self
            .symbols()
            .iter()
            .flat_map(Symbols::names)
            // Where the linker begins and ends a section.
            .filter(|name| !name.starts_with("__start_") && !name.starts_with("__stop_"))
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

    /// Whether the kernel finds a variable of every CPU when a program names it: by its own list
    /// of symbols, zeros or not (`check_pseudo_btf_id` in kernel/bpf/verifier.c).
    fn is_found(&self, variable: TypeId) -> bool {
        let name = self.btf.name(variable);
        match self.symbols() {
            Ok(symbols) => symbols.lists(name),
            Err(_) => true,
        }
    }

    /// Whether the kernel shows this process where its variables are: not all of them are
    /// [listed](Self::list) otherwise.
    #[must_use]
    pub fn shows_symbols(&self) -> bool {
        self.symbols().as_ref().is_ok_and(Symbols::shows_addresses)
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

    /// What the kernel calls a clocksource whose time its own vDSO computes from the CPU's
    /// counter.
    pub(crate) fn counter_mode(&self) -> Result<i32, Error> {
        let name = match cfg!(target_arch = "x86_64") {
            true => "VDSO_CLOCKMODE_TSC",
            false => "VDSO_CLOCKMODE_ARCHTIMER",
        };
        let mode = self.btf.enumerator(name);
        let mode = mode.and_then(|mode| i32::try_from(mode).ok());
        mode.ok_or_else(|| Error::NoType { name: name.into() })
    }

    /// A value that the kernel describes to its end, or not.
    fn value(
        &self,
        expression: &Expression,
        found: Type,
        fetch: Fetch,
        guard: Guard,
    ) -> Result<Value, Error> {
        let guard = if self.allow_addresses {
            Guard::Off
        } else {
            guard
        };
        if guard == Guard::Words && !covered_by_words(&fetch, found) {
            return Err(Error::PartOfWord {
                expression: expression.text.clone(),
            });
        }
        Ok(Value {
            expression: expression.text.clone(),
            ty: agreed(expression, found)?,
            found,
            fetch,
            guard,
        })
    }

    /// Which numbers to keep back of what an expression leads to.
    fn guard(&self, way: &Way, cast: Option<&Cast>) -> Guard {
        if cast.is_some() || !way.described {
            Guard::Words
        } else if self.is_wrapped(&way.reached) {
            Guard::All
        } else {
            Guard::Unsigned
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
            Err(_) => Err(std::io::ErrorKind::NotFound.into())
                .map_err(Error::file(crate::kallsyms::KALLSYMS))?,
        };
        let base = Base::Address(address);
        match (self.root(expression, symbol)?, expression.scalar) {
            (Some(root), _) => self.memory(expression, base, root),
            // Where the kernel has no type, a number has the one that is declared.
            (None, Some((scalar, count))) if expression.steps.is_empty() => {
                let offsets = vec![0];
                let fetch = Fetch::Memory { base, offsets };
                self.value(expression, declared(scalar, count), fetch, Guard::Words)
            }
            (None, _) => Err(Error::UnknownType {
                symbol: symbol.into(),
            }),
        }
    }

    /// The type of a symbol: the expression's, the kernel's, or the table's.
    fn root(&self, expression: &Expression, symbol: &str) -> Result<Option<Reached>, Error> {
        if let Some(cast) = &expression.cast {
            return self.cast(cast).map(Some);
        }
        if let Some(&ty) = self.known.get(symbol) {
            return Ok(Some(Reached::Type(ty)));
        }
        let ty = named::type_of(symbol).map(Cast::parse).transpose()?;
        ty.map(|ty| self.cast(&ty)).transpose()
    }

    fn argument(
        &self,
        expression: &Expression,
        number: usize,
        hook: &Hook,
    ) -> Result<Value, Error> {
        let root = self.parameter(expression, number, hook)?;
        let number = i16::try_from(number).map_err(|_| fewer(expression, hook))?;
        let typed = expression.cast.is_none() && self.is_number_within(expression, &root);
        self.memory(expression, Base::Argument { number, typed }, root)
    }

    /// What an argument of the hook's points to.
    fn parameter(
        &self,
        expression: &Expression,
        number: usize,
        hook: &Hook,
    ) -> Result<Reached, Error> {
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
        let parameter = number.checked_add(hidden);
        let parameter = parameter.and_then(|number| self.btf.parameters(ty).nth(number));
        let parameter = parameter.ok_or_else(|| fewer(expression, hook))?;
        match (&expression.cast, self.open(Reached::Type(parameter))) {
            (Some(cast), _) => self.cast(cast),
            (None, Reached::Pointer(to)) => Ok(*to),
            (None, _) => Err(Error::NoStep {
                expression: expression.text.clone(),
                ty: hook.to_string(),
                what: "has no pointer as that argument".into(),
            }),
        }
    }

    fn sum(&self, expression: &Expression, variable: TypeId) -> Result<Value, Error> {
        if !self.is_found(variable) {
            return Err(Error::NoVariables {
                symbol: self.btf.name(variable).to_owned(),
            });
        }
        let root = Reached::Type(self.variable_type(variable).unwrap_or(0));
        let way = self.walk(expression, root)?;
        let found = self.publishable(expression, &way.reached)?;
        let place = match (way.offsets.as_slice(), found) {
            ([offset], Type::Scalar(_)) => i16::try_from(*offset).ok(),
            _ => None,
        };
        let offset = place.ok_or_else(|| Error::Unpublishable {
            expression: expression.text.clone(),
            ty: format!("{} on every CPU", self.spelled(&way.reached)),
        })?;
        let fetch = Fetch::Sum { variable, offset };
        self.value(expression, found, fetch, self.guard(&way, None))
    }

    fn memory(&self, expression: &Expression, base: Base, root: Reached) -> Result<Value, Error> {
        let way = self.walk(expression, root)?;
        let found = self.publishable(expression, &way.reached)?;
        let guard = self.guard(&way, expression.cast.as_ref());
        let offsets = way.offsets;
        let fetch = Fetch::Memory { base, offsets };
        self.value(expression, found, fetch, guard)
    }

    /// Follows the steps.
    fn walk(&self, expression: &Expression, root: Reached) -> Result<Way, Error> {
        let mut described = true;
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
            let next = next.map_err(|what| no_step(&reached, what))?;
            described &= next.described;
            offset = offset.saturating_add(next.offset);
            reached = self.open(next.to);
        }
        offsets.push(narrow(offset, &reached)?);
        Ok(Way {
            offsets,
            reached,
            described,
        })
    }
}

/// Where an expression leads.
struct Way {
    /// All but the last lead to a pointer.
    offsets: Vec<i32>,
    reached: Reached,
    /// Whether the kernel describes every step.
    described: bool,
}

fn fewer(expression: &Expression, hook: &Hook) -> Error {
    Error::NoStep {
        expression: expression.text.clone(),
        ty: hook.to_string(),
        what: "has fewer arguments".into(),
    }
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
mod tests;
mod value;
