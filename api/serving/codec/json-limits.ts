/** Limits the JSON of a prediction request by the rows and features of its model, and parses it. */
import { DomainError } from '../../../domain/errors.ts'
import { parseJsonBody } from '../../../domain/json-body.ts'

/** Values in addition to those of the rows: names and shapes, with a margin that lets the parser report the exact error. */
const extraValues = 65_536

/** Parses the body. Throws like `parseJsonBody`, and `batch_too_large` for a body that exceeds `maxRows` rows of `width` values. */
export function parseModestJson(
  body: Uint8Array,
  maxRows: number,
  width: number,
  what = 'the body',
): unknown {
  // In nested lists each value may have its own brackets.
  const maxValues = 4 * maxRows * (width + 1) + extraValues
  return parseJsonBody(body, {
    maxValues,
    what,
    tooManyValues: () =>
      new DomainError(
        'batch_too_large',
        `${what} has more than ${maxValues} values, and a request has at most ${maxRows} rows`,
        { limit: maxRows },
      ),
  })
}
