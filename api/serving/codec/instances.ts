/**
 * Reads `{"instances":[…],"routing_key"?,"reference"?}` from its bytes: the requests of Tenure's own protocol and of KServe version 1, whose
 * rows may also be lists. Rows go straight into the input buffer. The first wrong row is reported when the whole body is read, because
 * what is wrong with the body comes first.
 */
import { DomainError, quotedName } from '../../../domain/errors.ts'
import type { FeatureRow } from '../../../domain/model/features.ts'
import { fitsSingle, scaled } from '../../../domain/model/preprocessing.ts'
import { callerTexts, type CallerTexts } from './caller-texts.ts'
import type { CategoryColumn, FeatureColumn, FeatureColumns, NumberColumn } from './feature-columns.ts'
import { putCategory, putNumber } from './cell-reader.ts'
import { reserveRows, resetInput, writeTextValue, writeTextBytes, type InputBuffer } from './input-buffer.ts'
import {
  beginsNumber,
  expect,
  json,
  peek,
  readAny,
  readJson,
  readNumber,
  readText,
  refuseSyntax,
  sign,
  take,
  takeBytes,
  tooManyRows,
  type BodySize,
} from './json-reader.ts'
import { kindOf, notAnObject, unknownFeature, type FeatureCheck } from './row-reader.ts'

/** Where two protocols with the same body differ. */
export interface InstancesForm {
  takesLists: boolean
  none: string
  /** How errors name the rows. */
  rows: string
}

export interface PredictRequest extends CallerTexts {
  instances: FeatureRow[]
}

/** Reads the rows as objects, and does not check them. */
export function readInstances(body: Buffer, size: BodySize, form: InstancesForm): PredictRequest {
  const instances: FeatureRow[] = []
  const { routingKey, reference } = readBody(body, size, form, () => {
    instances.push(readAny() as FeatureRow)
    return undefined
  })
  return { instances, routingKey, reference }
}

/** Reads the rows into the buffer. */
export function fillInstances(
  {
    columns,
    jsonRow,
    ignores,
  }: { columns: FeatureColumns; jsonRow: JsonRow; ignores: (field: string) => boolean },
  { body, size, form }: { body: Buffer; size: BodySize; form: InstancesForm },
  input: InputBuffer,
): void {
  resetInput(input, columns, 1)
  const { rows, routingKey, reference } = readBody(body, size, form, (row) => {
    reserveRows(input, columns, row + 1)
    return jsonRow(input, row, form.takesLists, ignores)
  })
  input.rows = rows
  input.routingKey = routingKey
  input.reference = reference
}

/** Reads the row at the position, and returns what is wrong with it. */
type ReadRow = (row: number) => DomainError | undefined

/** What a body holds, before it is judged. */
interface Found {
  /** The body when it is no object. */
  other: unknown
  /** The first field that is unknown. */
  unknown: string | undefined
  /** "instances" when it is no list. */
  instances: unknown
  /** The number of rows; -1 without a list. */
  rows: number
  wrongRow: DomainError | undefined
  routing_key?: unknown
  reference?: unknown
}

function readBody(
  body: Buffer,
  size: BodySize,
  form: InstancesForm,
  readRow: ReadRow,
): CallerTexts & { rows: number } {
  return readJson(body, size, () => judged(readFields({ maxRows: size.maxRows, form, readRow }), form))
}

function judged(found: Found, form: InstancesForm): CallerTexts & { rows: number } {
  const { other, unknown, instances, rows, wrongRow, routing_key, reference } = found
  if (other !== undefined) refuse(`the body is ${kindOf(other)}, not an object`)
  if (unknown !== undefined)
    refuse(`the body has an unknown field ${quotedName(unknown)}: its rows are "instances"`)
  if (rows < 0) refuse(`"instances" is ${kindOf(instances)}, not a list`)
  if (rows === 0) throw new DomainError('no_instances', form.none)
  const texts = callerTexts({ routing_key, reference })
  if (wrongRow !== undefined) throw wrongRow
  return { rows, ...texts }
}

interface RowsToRead {
  maxRows: number
  form: InstancesForm
  readRow: ReadRow
}

function readFields(rows: RowsToRead): Found {
  const found: Found = {
    other: undefined,
    unknown: undefined,
    instances: undefined,
    rows: -1,
    wrongRow: undefined,
  }
  if (!take(sign.open)) {
    found.other = readAny()
    return found
  }
  if (take(sign.close)) return found
  do {
    peek()
    const name = readText()
    expect(sign.colon)
    if (name === 'instances') {
      if (found.rows >= 0 || found.instances !== undefined) refuseSyntax()
      if (peek() === sign.openList) readRows(found, rows)
      else found.instances = readAny()
    } else if (name === 'routing_key' || name === 'reference') {
      if (found[name] !== undefined) refuseSyntax()
      found[name] = readAny()
    } else {
      found.unknown ??= name
      readAny()
    }
  } while (take(sign.comma))
  expect(sign.close)
  return found
}

/** A body with too many rows is not read to its end. */
function readRows(found: Found, { maxRows, form, readRow }: RowsToRead): void {
  json.at++
  found.rows = 0
  if (take(sign.closeList)) return
  do {
    if (found.rows === maxRows) throw tooManyRows(maxRows, form.rows)
    if (found.wrongRow === undefined) found.wrongRow = readRow(found.rows)
    else readAny()
    found.rows++
  } while (take(sign.comma))
  expect(sign.closeList)
}

/**
 * Reads the row at the position into the buffer, and returns what is wrong with it. Ignores a field that is no feature where `isIgnored`
 * says so.
 */
export type JsonRow = (
  input: InputBuffer,
  row: number,
  takesLists: boolean,
  isIgnored: (field: string) => boolean,
) => DomainError | undefined

interface Field {
  name: string
  /** Undefined for a field that is no feature. */
  column: FeatureColumn | undefined
  /** The place among the features as they are declared; of several wrong values, that of the first feature is reported. */
  place: number
  check: FeatureCheck
  /** The bytes `"name":` of a compact body. */
  prefix: Buffer
  /** The position in the current order. */
  at: number
}

/** Returns the reader of rows that have these columns. */
export function compileJsonRow(columns: FeatureColumns, checks: ReadonlyMap<string, FeatureCheck>): JsonRow {
  const places = new Map([...checks.keys()].map((name, place) => [name, place]))
  // First the fields of the current row, in its order, then those that it has not had yet; clients usually keep their order.
  const order: Field[] = []
  const byName = new Map<string, Field>()
  const addField = (name: string, rest: Pick<Field, 'column' | 'place' | 'check'>): Field => {
    const field = { name, ...rest, prefix: Buffer.from(`${JSON.stringify(name)}:`), at: order.length }
    order.push(field)
    byName.set(name, field)
    return field
  }
  for (const column of columns.all)
    addField(column.name, { column, place: places.get(column.name)!, check: checks.get(column.name)! })
  const listed = columns.listed.map(({ name }) => byName.get(name)!)
  const computed = columns.computed.map(({ name }) => byName.get(name)!)
  const isPrepared = computed.length > 0
  // The current row's texts, by text column, because features may come in any order.
  const texts: RowTexts = {
    starts: new Float64Array(columns.texts),
    ends: new Float64Array(columns.texts),
    others: Array.from({ length: columns.texts }, () => null),
  }
  const wrong = {
    place: Infinity,
    error: undefined as DomainError | undefined,
    unknown: undefined as string | undefined,
  }

  /** Checks a value that is read outside of the usual way. A wrong value is kept, and read as one that is filled. */
  const checked = ({ place, check }: Field, value: unknown, row: number): number | string | null => {
    try {
      return check(value, row)
    } catch (error) {
      if (place < wrong.place) Object.assign(wrong, { place, error })
      return null
    }
  }
  /** Reads the name of a field and its colon. Returns undefined for an unknown field. */
  const fieldAt = (position: number, isIgnored: (field: string) => boolean): Field | undefined => {
    const expected = order[position]
    if (expected !== undefined) {
      if (json.bytes[json.at] === space) json.at++
      if (takeBytes(expected.prefix)) return expected
    }
    peek()
    const name = readText()
    expect(sign.colon)
    let field = byName.get(name)
    if (field === undefined) {
      if (!isIgnored(name)) {
        wrong.unknown ??= name
        return undefined
      }
      field = addField(name, { column: undefined, place: Infinity, check: () => null })
    }
    if (field.at < position) refuseSyntax()
    // Exchanged and not moved up: rows in changing orders would otherwise take the square of their width.
    const other = order[position]!
    order[(other.at = field.at)] = other
    order[(field.at = position)] = field
    return field
  }
  const readNumberOf = (field: Field, column: NumberColumn, input: InputBuffer, row: number): void => {
    if (!beginsNumber(peek()))
      return putNumber(column, columns, input, row, checked(field, readAny(), row) as number | null)
    const value = readNumber()
    const { slot, start, mean, std, low, high, fill, unread } = column
    const fed = scaled(value, mean, std)
    input.numbers[row * columns.numbers + slot] = value
    if (isPrepared) input.doubles[row * columns.numbers + slot] = value
    if (!unread)
      input.input[row * columns.width + start] = value < low || value > high ? scaled(fill, mean, std) : fed
    // The network and the log store 32 bits.
    if (!fitsSingle(value) || !fitsSingle(fed)) checked(field, value, row)
  }
  const readCategory = (field: Field, column: CategoryColumn, input: InputBuffer, row: number): void => {
    const { slot, values, freeLength } = column
    const start = json.at + 1
    const value = peek() === sign.quote ? readText() : readAny()
    texts.starts[slot] = start
    texts.ends[slot] = json.at - 1
    // A text that has a byte for each character is written as it was sent.
    const isPlain = typeof value === 'string' && value.length === json.at - 1 - start
    const isTaken = isPlain && values?.has(value) !== false && value.length <= freeLength
    const read = isTaken ? value : checked(field, value, row)
    if (!isPlain) {
      texts.starts[slot] = -1
      texts.others[slot] = read as string | null
    }
    putCategory(column, columns, input, row, read as string | null)
  }
  const readField = (
    field: Field,
    input: InputBuffer,
    row: number,
    isIgnored: (field: string) => boolean,
  ): void => {
    const { column, name } = field
    if (column?.kind === 'number') return readNumberOf(field, column, input, row)
    if (column?.kind === 'category') return readCategory(field, column, input, row)
    if (!isIgnored(name)) wrong.unknown ??= name
    readAny()
  }
  const fillField = (field: Field, input: InputBuffer, row: number): void => {
    const { column } = field
    if (column === undefined) return
    checked(field, undefined, row)
    if (column.kind === 'number') putNumber(column, columns, input, row, null)
    else {
      texts.starts[column.slot] = -1
      texts.others[column.slot] = null
      putCategory(column, columns, input, row, null)
    }
  }
  const fillAbsent = (count: number, input: InputBuffer, row: number): void => {
    for (let at = count; at < order.length; at++) fillField(order[at]!, input, row)
  }
  const readNamed = (input: InputBuffer, row: number, isIgnored: (field: string) => boolean): void => {
    json.at++
    let count = 0
    if (!take(sign.close)) {
      do {
        const field = fieldAt(count, isIgnored)
        if (field === undefined) readAny()
        else {
          readField(field, input, row, isIgnored)
          count++
        }
      } while (take(sign.comma))
      expect(sign.close)
    }
    if (count < order.length) fillAbsent(count, input, row)
  }
  /** Reads a row without names, in the order of the model file. */
  const readListed = (input: InputBuffer, row: number): DomainError | undefined => {
    json.at++
    let count = 0
    if (!take(sign.closeList)) {
      do {
        const field = listed[count++]
        if (field === undefined) readAny()
        else readField(field, input, row, isNever)
      } while (take(sign.comma))
      expect(sign.closeList)
    }
    for (const field of computed) fillField(field, input, row)
    return count === listed.length ? undefined : otherLength(row, count, columns)
  }

  return (input, row, takesLists, isIgnored) => {
    const byte = peek()
    const isList = takesLists && byte === sign.openList
    if (byte !== sign.open && !isList) return notAnObject(readAny(), row)
    wrong.place = Infinity
    wrong.error = wrong.unknown = undefined
    if (!columns.numeric) input.input.fill(0, row * columns.width, (row + 1) * columns.width)
    const otherwise = isList ? readListed(input, row) : readNamed(input, row, isIgnored)
    if (otherwise !== undefined) return otherwise
    if (wrong.error !== undefined) return wrong.error
    if (wrong.unknown !== undefined) return unknownFeature(wrong.unknown, row)
    for (let i = 0; i < columns.texts; i++)
      if (texts.starts[i]! < 0) writeTextValue(input, texts.others[i] ?? undefined)
      else writeTextBytes(input, json.bytes, texts.starts[i]!, texts.ends[i]!)
    return undefined
  }
}

const space = 0x20
const isNever = (): boolean => false

interface RowTexts {
  /** The bytes of each text; −1 for one of `others`. */
  starts: Float64Array
  ends: Float64Array
  /** Texts that are not written as they were sent, and null. */
  others: (string | null)[]
}

export const otherLength = (row: number, count: number, { listed }: FeatureColumns): DomainError =>
  new DomainError(
    'invalid_request',
    `instance ${row} has ${count} values; send one for each of ${listed.map(({ name }) => name).join(', ')}, in this order`,
  )

function refuse(what: string): never {
  throw new DomainError('invalid_request', what)
}
