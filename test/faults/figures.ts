/**
 * Stores the figures that fault tests have measured, for the table of faults. Figures are kept only when the script that prints the table
 * has created the file.
 */
import { appendFileSync, existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { FaultNumber } from './table.ts'

export interface Figure {
  fault: FaultNumber
  reached: string
}

export const figuresFile = join(tmpdir(), `tenure-figures-${process.getuid?.() ?? 0}.jsonl`)

/**
 * Compares how long something took with its target, where the script that prints the table runs the test, with nothing beside it. CI does
 * not compare: its machine runs other tests at the same time.
 */
export function expectWithin(tookMs: number, mostMs: number): void {
  if (existsSync(figuresFile)) expect(tookMs).toBeLessThanOrEqual(mostMs)
}

/** Time for a renewal that Postgres carries out after its sender has ended, in milliseconds. */
const graceMs = 1_000
/** How long a watch takes the last answer of Temporal for present, in milliseconds (activities/release/watch-stage.ts). */
export const temporalFreshMs = 900

/**
 * Fails when a candidate served after its lease. `lastMs`: the time from the end of its renewals until the last request that it answered was
 * *sent*. A replica looks at the lease after that, however busy its machine is.
 */
export function expectWithinLease(lastMs: number, leaseMs: number): void {
  expect(lastMs, `with a lease of ${leaseMs} ms`).toBeLessThanOrEqual(leaseMs + graceMs)
}

export function reached(fault: FaultNumber, what: string): void {
  const figure: Figure = { fault, reached: what }
  if (existsSync(figuresFile)) appendFileSync(figuresFile, `${JSON.stringify(figure)}\n`)
}
