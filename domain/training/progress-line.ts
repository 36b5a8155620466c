/** Parses the lines that a training program writes to its standard output. */
import { redacted } from '../redact.ts'
import type { SpanPart } from '../tracing/span.ts'
import { visibleText } from '../visible-text.ts'

export interface TrainingProgress {
  /** From 1. */
  epoch: number
  epochs: number
  /** Absent when the program computes none. */
  loss?: number
  /** The loss on the validation rows. */
  validationLoss?: number
  metrics?: Record<string, number>
  note?: string
}

const maxNoteLength = 500
const maxMetrics = 50
const maxPartLength = 100

/** Returns the progress of a line, a finished part of the work, or why the line has neither. */
export function parseProgressLine(line: string): TrainingProgress | { part: SpanPart } | { issue: string } {
  const bad = (issue: string) => ({ issue: `${issue}: ${visibleText(redacted(line).slice(0, 200))}` })
  let given: Record<string, unknown>
  try {
    given = JSON.parse(line) as Record<string, unknown>
  } catch {
    return bad('no JSON')
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return bad('no JSON object')
  const { epoch, epochs, loss, validationLoss, metrics, note, part } = given
  if (part !== undefined) return partOf(given) ?? bad('"part" needs "startMs" and a later "endMs"')
  if (!isCount(epoch) || !isCount(epochs)) return bad('"epoch" and "epochs" must be whole numbers from 1')
  if (loss !== undefined && loss !== null && !Number.isFinite(loss)) return bad('"loss" must be a number')
  if (note !== undefined && typeof note !== 'string') return bad('"note" must be a text')
  return {
    epoch,
    epochs,
    loss: typeof loss === 'number' ? loss : undefined,
    validationLoss: Number.isFinite(validationLoss) ? Number(validationLoss) : undefined,
    metrics: numbersOf(metrics),
    note: note === undefined ? undefined : visibleText(note.slice(0, maxNoteLength)),
  }
}

/** Times are milliseconds since 1970. */
function partOf({ part, startMs, endMs, error }: Record<string, unknown>): { part: SpanPart } | undefined {
  if (typeof part !== 'string' || part === '' || !isTime(startMs) || !isTime(endMs) || endMs < startMs)
    return undefined
  const name = visibleText(part.slice(0, maxPartLength))
  return { part: { name, startMs, endMs, error: typeof error === 'string' ? visibleText(error) : undefined } }
}

/** Until the year 2286. */
const isTime = (value: unknown): value is number =>
  Number.isFinite(value) && Number(value) >= 0 && Number(value) < 1e13

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 1

/** The finite numbers of an object. */
function numbersOf(given: unknown): Record<string, number> | undefined {
  if (typeof given !== 'object' || given === null) return undefined
  const numbers = Object.entries(given).filter((entry): entry is [string, number] =>
    Number.isFinite(entry[1]),
  )
  return numbers.length === 0 ? undefined : Object.fromEntries(numbers.slice(0, maxMetrics))
}
