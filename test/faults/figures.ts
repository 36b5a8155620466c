/**
 * Stores the figures that fault tests have measured, for the table of faults. Figures are kept only when the script that prints the table
 * has created the file.
 */
import { appendFileSync, existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FaultNumber } from './table.ts'

export interface Figure {
  fault: FaultNumber
  reached: string
}

export const figuresFile = join(tmpdir(), `tenure-figures-${process.getuid?.() ?? 0}.jsonl`)

export function reached(fault: FaultNumber, what: string): void {
  const figure: Figure = { fault, reached: what }
  if (existsSync(figuresFile)) appendFileSync(figuresFile, `${JSON.stringify(figure)}\n`)
}
