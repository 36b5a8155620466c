/** Reads outcomes from NDJSON, or from CSV with a header line. */
import { isError, DomainError } from '../../domain/errors.ts'
import { parseJsonBody } from '../../domain/json-body.ts'
import { fieldsOf, linesOf, requireLines, type TextLine } from './line-reader.ts'
import type { Intake } from './intake.ts'
import { outcomeColumns } from './outcome-columns.ts'
import type { OutcomeCheck, SentOutcome } from './outcomes.ts'

const maxLineBytes = 65_536
/** The maximum number of JSON values in a line. An outcome has three. */
const maxLineValues = 100

export async function ingestLines(
  body: AsyncIterable<Uint8Array>,
  form: 'csv' | 'ndjson',
  intake: Intake,
): Promise<void> {
  const parse = form === 'csv' ? csvReader(intake.check) : jsonReader(intake.check)
  let lines = 0
  for await (const line of linesOf(body, maxLineBytes)) {
    lines++
    const parsed = parse(line)
    if (parsed === undefined) continue
    if (typeof parsed === 'string') await intake.refuse(`line ${line.number}`, parsed)
    else await intake.take(parsed)
  }
  requireLines(lines)
}

/** Returns a function that reads a line: the outcome, or the error message. */
function jsonReader(check: OutcomeCheck): (line: TextLine) => SentOutcome | string {
  return ({ text, number }) => {
    let value: unknown
    try {
      value = parseJsonBody(Buffer.from(text), { maxValues: maxLineValues, what: 'the line' })
    } catch (error) {
      if (isError(error)) return error.message
      throw error
    }
    return check(value, `line ${number}`)
  }
}

function csvReader(check: OutcomeCheck): (line: TextLine) => SentOutcome | string | undefined {
  let places: number[] | undefined
  return ({ text, number }) => {
    const fields = fieldsOf(number === 1 ? text.replace(/^\uFEFF/, '') : text)
    if (places === undefined) {
      const found = outcomeColumns.map((column) => fields?.indexOf(column) ?? -1)
      if (found.includes(-1))
        throw new DomainError(
          'invalid_request',
          `the first line lacks one of the columns ${outcomeColumns.join(', ')}`,
        )
      places = found
      return undefined
    }
    if (fields === undefined) return 'a quote is not closed'
    const [id, value, given = ''] = places.map((place) => fields[place] ?? '')
    // pandas and Postgres write a space between date and time, and Postgres writes a time zone of two digits.
    const at = given.replace(
      /^(\d{4}-\d\d-\d\d) (\d\d:[\d:.]+)(?:([+-]\d\d)$)?/,
      (_, day: string, time: string, zone?: string) =>
        `${day}T${time}${zone === undefined ? '' : `${zone}:00`}`,
    )
    const found = check({ prediction_id: id, value, observed_at: at }, `line ${number}`)
    return typeof found === 'string' ? found : { ...found, asText: true }
  }
}
