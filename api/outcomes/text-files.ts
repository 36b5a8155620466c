/** Reads outcomes from NDJSON, or from CSV with a header line. */
import { isError, DomainError } from '../../domain/errors.ts'
import { parseJsonBody } from '../../domain/json-body.ts'
import { sameNames, sameNamesIssue } from '../../domain/validation/source-issue.ts'
import { fieldsOf, linesOf, requireLines, type TextLine } from './line-reader.ts'
import type { Intake } from './intake.ts'
import { instanceColumn, outcomeColumns } from './outcome-columns.ts'

const maxLineBytes = 65_536
/** The maximum number of JSON values in a line. An outcome has five. */
const maxLineValues = 100

export async function ingestLines(
  body: AsyncIterable<Uint8Array>,
  form: 'csv' | 'ndjson',
  intake: Intake,
): Promise<void> {
  const take = form === 'csv' ? csvReader(intake) : jsonReader(intake)
  let lines = 0
  for await (const line of linesOf(body, maxLineBytes)) {
    lines++
    await take(line, `line ${line.number}`)
  }
  requireLines(lines)
}

type TakeLine = (line: TextLine, place: string) => Promise<void>

const jsonReader =
  ({ check, take, refuse }: Intake): TakeLine =>
  async ({ text }, place) => {
    let value: unknown
    try {
      value = parseJsonBody(Buffer.from(text), { maxValues: maxLineValues, what: 'the line' })
    } catch (error) {
      if (isError(error)) return refuse(place, error.message)
      throw error
    }
    const outcome = check(value, place)
    return typeof outcome === 'string' ? refuse(place, outcome) : take(outcome)
  }

function csvReader({ key, takeRow, refuse }: Intake): TakeLine {
  let places: number[] | undefined
  return async ({ text, number }, place) => {
    const fields = fieldsOf(number === 1 ? text.replace(/^\uFEFF/, '') : text)
    if (places === undefined) {
      const same = sameNames(fields ?? [])
      if (same !== undefined)
        throw new DomainError('invalid_request', `line ${number}: ${sameNamesIssue(same)}`)
      const columns = outcomeColumns(key)
      const found = columns.map((column) => fields?.indexOf(column) ?? -1)
      if (found.includes(-1))
        throw new DomainError(
          'invalid_request',
          `the first line lacks one of the columns ${columns.join(', ')}`,
        )
      const instance = key === 'reference' ? (fields?.indexOf(instanceColumn) ?? -1) : -1
      places = instance === -1 ? found : [...found, instance]
    } else if (fields === undefined) await refuse(place, 'a quote is not closed')
    else
      await takeRow(
        place,
        places.map((at) => fields[at] ?? ''),
      )
  }
}
