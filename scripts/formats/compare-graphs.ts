/**
 * Compares predictions for random ONNX graphs, and for scikit-learn and CatBoost models exported to ONNX, with ONNX Runtime. Part of `npm
 * run test:parity`.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { createSessions } from '../../api/serving/formats/onnx/session/session-host.ts'
import { judgeGraph, type GraphCase } from '../../test/support/formats/graph-parity.ts'

export interface GraphComparison {
  /** Path of a Python with the libraries. */
  python: string
  /** The folder for the graphs during the comparison. */
  folder: string
  /** The number of random graphs, and of seeds for library models. */
  graphs: number
  seeds: number
  firstSeed: number
  /** A file to write for the tests that run graphs without ONNX Runtime. */
  pack?: string
}

/** Prints each graph that differs. Returns false if any differs. */
export async function compareGraphs(options: GraphComparison): Promise<boolean> {
  const { python, folder, graphs, seeds, firstSeed, pack } = options
  const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
  const first = ['--first', String(firstSeed)]
  const made = (name: string, size: readonly string[]): string => {
    const file = join(folder, `${name}.jsonl`)
    execFileSync(python, [script(name), file, ...first, ...size], { stdio: 'inherit' })
    return readFileSync(file, 'utf8')
  }
  const rows = pack === undefined ? [] : ['--rows', '12']
  const parts = [made('graphs.py', ['--graphs', String(graphs), ...rows])]
  if (pack === undefined) parts.push(made('library_graphs.py', ['--seeds', String(seeds)]))
  const cases = parts.flatMap((text) =>
    text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as GraphCase])),
  )
  const sessions = createSessions({ onError: (message) => process.stderr.write(`${message}\n`) })
  const counts = new Map<string, { graphs: number; rows: number }>()
  const packed: GraphCase[] = []
  let differing = 0
  try {
    for (const each of cases) {
      const { by, wrong } = await judgeGraph(each, sessions)
      const count = counts.get(by) ?? { graphs: 0, rows: 0 }
      counts.set(by, {
        graphs: count.graphs + 1,
        rows: count.rows + (by === 'refused' || by === 'registration' ? 0 : each.rows.length),
      })
      if (wrong === undefined && needsNone.has(by)) packed.push(each)
      if (wrong === undefined) continue
      differing++
      process.stdout.write(`DIFFERS ${each.name} (${by}): ${each.operators.join(' ')}: ${wrong}\n`)
    }
  } finally {
    await sessions.stop()
  }
  for (const [by, count] of counts)
    process.stdout.write(`${names[by]}: ${count.graphs} graphs, ${count.rows} rows\n`)
  process.stdout.write(`${cases.length} graphs, ${differing} differ\n`)
  if (pack !== undefined) writeFileSync(pack, gzipSync(JSON.stringify(packed, withSigns)))
  return differing === 0
}

const names: Readonly<Record<string, string>> = {
  forest: 'answered as trees',
  rows: 'answered in the turn of the request',
  session: 'answered by ONNX Runtime',
  refused: 'refused',
  registration: 'refused at registration',
}
/** Writes -0 as a text, because JSON has no sign of 0, and a quotient by it has. */
const withSigns = (_key: string, cell: unknown): unknown => (Object.is(cell, -0) ? '-0' : cell)

/** The cases that the tests compare without ONNX Runtime. */
const needsNone = new Set(['forest', 'rows', 'refused'])
