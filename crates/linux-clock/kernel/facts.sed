# Makes Rust of facts.s: `pub const` of numbers, a macro of each text.
/^[[:space:]]*# vdsokit begin /,/^[[:space:]]*# vdsokit end/ {
	s/^[[:space:]]*# vdsokit begin \([a-z_]*\).*/macro_rules! \1 { () => { r##"/p
	t
	s/^[[:space:]]*# vdsokit end.*/"## } }/p
	t
	/^[[:space:]]*#/d
	/^[[:space:]]*\.loc/d
	/^\.L/d
	/^[[:space:]]*$/d
	p
	d
}
s/^[[:space:]]*\.ascii "->\([^"]*\)".*/\1/p
