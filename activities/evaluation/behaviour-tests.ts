/**
 * Runs the behaviour tests of a model file on challenger and champion. Rows are sent in chunks within a time limit; a chunk that a
 * version cannot answer fails only its own tests.
 */
import type { BehaviourResult, BehaviourRow, BehaviourTest } from '../../domain/behaviour/behaviour-test.ts'
import { judgeBehaviour, notComputed } from '../../domain/behaviour/judge-behaviour.ts'
import { planProbes, type Probes } from '../../domain/behaviour/probes.ts'
import { answerReader, type ModelAnswers } from '../../domain/metrics/answers.ts'
import { columnTableOf, rowReader, type ColumnTable } from '../../domain/model/columns.ts'
import { sentFeatures, type FeatureRow, type Features } from '../../domain/model/features.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { shown } from '../../domain/postgres-text.ts'

/** A version under test. */
export interface TestedVersion {
  manifest: Manifest
  /** Throws when the version cannot answer. */
  answer: (table: ColumnTable) => Promise<ModelAnswers>
}

export interface TestRun {
  tests: readonly BehaviourTest[]
  features: Features
  /** The test rows. */
  rows: ColumnTable
  /** The test rows that meet an SQL condition. Throws DuckDB's error for an invalid one. */
  rowsWhere: (where: string) => Promise<ArrayLike<number>>
  seed: number
  /** Whether reported examples may show the features of a row. */
  showsRows: boolean
  /** What the report says of an error of a version, which may quote a row. */
  reported: (error: unknown) => string
  challenger: TestedVersion
  champion?: TestedVersion
}

/** Rows per chunk. */
const pieceRows = 20_000
/** Time limit of all tests of one version; a running chunk is finished. */
const limitMs = 60_000

export async function runTests(run: TestRun): Promise<BehaviourRow[]> {
  const { tests, challenger, champion } = run
  if (tests.length === 0) return []
  const planned = await planAll(run)
  const of = await resultsOf(challenger, planned, run)
  const before = champion && (await resultsOf(champion, planned, run))
  return tests.map(({ name, kind }, index) => ({
    name,
    kind,
    challenger: of[index]!,
    champion: before?.[index],
  }))
}

interface Planned {
  test: BehaviourTest
  /** A text with the reason when the rows could not be chosen. */
  probes: Probes | string
  /** The index of its first row among the rows of all tests. */
  from: number
}

/** Includes every column of the table, because the champion may use features that the challenger does not. */
async function planAll({ tests, features, rows, rowsWhere, seed }: TestRun): Promise<Planned[]> {
  const rowAt = rowReader(rows, Object.keys(rows.columns))
  const everyRow = Uint32Array.from({ length: rows.rows }, (_, row) => row)
  const planned: Planned[] = []
  let from = 0
  for (const test of tests) {
    let probes: Probes | string
    try {
      const where = test.kind === 'exact' ? undefined : test.where
      const eligible = where === undefined ? everyRow : await rowsWhere(where)
      probes = planProbes(test, { features, eligible, rowAt, seed })
    } catch (error) {
      probes = reasonOf(error)
    }
    planned.push({ test, probes, from })
    from += typeof probes === 'string' ? 0 : probes.rows.length
  }
  return planned
}

async function resultsOf(
  version: TestedVersion,
  planned: readonly Planned[],
  { showsRows, reported }: TestRun,
): Promise<BehaviourResult[]> {
  const { features, output } = version.manifest
  const names = Object.keys(features)
  const sent = Object.keys(sentFeatures(features))
  const rows = planned.flatMap(({ probes }) => (typeof probes === 'string' ? [] : probes.rows))
  const pieces = await askPieces(version, { rows, names, reported })
  return planned.map(({ test, probes, from }) => {
    if (typeof probes === 'string') return notComputed(probes)
    const absent = test.kind === 'exact' ? sent.find((name) => !(name in test.row)) : undefined
    if (absent !== undefined)
      return notComputed(`the row of the test has no ${absent}, which this version takes`, 1)
    const [first, last] = [from, from + probes.rows.length - 1].map((row) => Math.floor(row / pieceRows))
    for (let piece = first!; piece <= last! && probes.rows.length > 0; piece++) {
      const found = pieces[piece]!
      if (typeof found === 'string') return notComputed(found, probes.sampled)
    }
    const answerAt = (row: number) => {
      const found = pieces[Math.floor((from + row) / pieceRows)]
      return typeof found === 'string' ? undefined : found?.((from + row) % pieceRows)
    }
    return judgeBehaviour(test, { probes, output, answerAt, showsRows })
  })
}

/** The answers chunk by chunk, or why they are missing. */
async function askPieces(
  { answer }: TestedVersion,
  {
    rows,
    names,
    reported,
  }: { rows: readonly FeatureRow[]; names: readonly string[] } & Pick<TestRun, 'reported'>,
): Promise<(((row: number) => readonly number[]) | string)[]> {
  const endMs = performance.now() + limitMs
  const pieces = []
  for (let from = 0; from < rows.length; from += pieceRows) {
    if (performance.now() > endMs) {
      pieces.push(`the time of ${limitMs / 1_000} s for all tests was over`)
      continue
    }
    try {
      const answers = await answer(columnTableOf(rows.slice(from, from + pieceRows), names))
      const read = answerReader(answers)
      pieces.push((row: number) => [...read(row)])
    } catch (error) {
      pieces.push(reported(error))
    }
  }
  return pieces
}

/** The first line of the error message. */
const reasonOf = (error: unknown): string =>
  shown((error instanceof Error ? error.message : String(error)).split('\n')[0])
