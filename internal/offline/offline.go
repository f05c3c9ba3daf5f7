// Package offline has the one error of builds that may not use the network: image/registry and stage/source
// give it their names, so that a caller asks for it once, whoever would have had to ask.
package offline

import "errors"

// Err says that nobody may be asked.
var Err = errors.New("nobody may be asked for it")
