/** The option `--as-of`. */
const forms = '(a day, or ISO 8601 with its zone; default: now)'

/** Of commands that train. */
export const asOfOption = ['--as-of <time>', `Use only data known at this time ${forms}`] as const
/** Of commands that bring a trained version. */
export const evaluateAsOfOption = [
  '--as-of <time>',
  `Evaluate on the data known at this time ${forms}`,
] as const
