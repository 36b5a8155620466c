/** Defines what a protocol of endpoints writes and reads, and the values of parsed answers. */
import type { Output } from '../../features.ts'
import { isSingle, type Endpoint, type EndpointOf, type ProtocolName } from './endpoint-file.ts'

/** The value of a column in a row: a list is a vector, null is missing. */
export type Value = number | string | readonly number[] | null

/** The rows of one request, column by column in the order of the file. */
export type Columns = readonly (readonly Value[])[]

export interface Question {
  /** Follows the address of the file. */
  path: string
  headers?: Readonly<Record<string, string>>
  body: object
}

export interface Protocol<Name extends ProtocolName = ProtocolName> {
  /** `id` is that of the request alone: what all requests of a process begin with, and a number behind the last `-`. */
  encode(endpoint: EndpointOf<Name>, columns: Columns, rows: number, id: string): Question
  /** Returns the outputs of the rows, one row after the other. Throws with what is wrong with the answer. */
  decode(
    endpoint: EndpointOf<Name>,
    answer: unknown,
    asked: { rows: number; output: Output; id: string },
  ): Float32Array
  /** Returns how many tokens the server says it has read and written. */
  tokensOf?(answer: unknown): { input: number; output: number } | undefined
}

/** Whether an answer has the id of another request of this process. A server may leave the id out or make one up. */
export const isIdOfAnother = (answered: string, id: string): boolean =>
  answered !== id && answered.startsWith(id.slice(0, id.lastIndexOf('-') + 1))

export const namesOf = ({ columns }: Endpoint): string[] => columns.map(({ name, as = name }) => as)

export const field = (given: unknown, name: string): unknown =>
  typeof given === 'object' && given !== null && Object.hasOwn(given, name)
    ? (given as Record<string, unknown>)[name]
    : undefined

/** Throws for a value that is no finite number of 32 bits, which answers have. */
export function numberOf(value: unknown, output: number, row: number): number {
  if (typeof value === 'number' && isSingle(value)) return value
  throw new Error(`its output ${output} of row ${row} is ${shown(value)}, not a number`)
}

/** Not the text of a server, which may repeat the features. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object' && value !== null) return 'an object'
  if (typeof value === 'number' && Number.isFinite(value)) return `${value}, which 32 bits do not hold`
  return typeof value === 'string' ? 'a text' : String(value ?? (value === null ? 'null' : 'missing'))
}
