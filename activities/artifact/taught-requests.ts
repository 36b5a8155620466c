/**
 * Reads the logged requests that a network learns from, each with the answer of its parent: the logged one, or one that the parent gives
 * again. Those with the values of a test row are left out, because the gate compares the network with its parent on the test rows.
 */
import { outputWidth } from '@tenure/predictors/features'
import { isRemote } from '@tenure/predictors/format-names'
import { snapshotColumns } from '../../domain/model-definition.ts'
import { counted } from '../../domain/figures.ts'
import {
  cellOf,
  listCells,
  listRows,
  pickRows,
  requireColumn,
  type ColumnTable,
} from '../../domain/model/columns.ts'
import { sentFeatures, type Features } from '../../domain/model/features.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { computedColumns, isFailedCell } from '../../domain/model/prepare.ts'
import { quotedIdentifier, textLiteral } from '../../domain/sql-text.ts'
import {
  requestColumns,
  type LoggedRequests,
  type TaughtRequests,
} from '../../domain/training/logged-requests.ts'
import type { Artifacts } from '../../store/artifacts.ts'
import { withDuck } from '../data/duckdb.ts'
import { openPreparer, withComputedCells } from '../data/prepared-rows.ts'
import { readTable } from '../data/rows.ts'
import { askRows } from '../evaluation/request-answers.ts'
import type { ArtifactReader } from './reader.ts'

export interface TaughtTable {
  data: ColumnTable
  /** One list of numbers for each row. */
  answers: number[][]
  facts: TaughtRequests
}

/** Throws `artifact_corrupt` without the files. */
export async function readTaughtRequests(
  artifacts: Artifacts,
  reader: Pick<ArtifactReader, 'answer'>,
  {
    parent,
    features,
    requests,
    snapshotDigest,
  }: { parent: Manifest; features: Features; requests: LoggedRequests; snapshotDigest: string },
): Promise<TaughtTable | undefined> {
  if (requests.digest === undefined) return undefined
  const path = await artifacts.locate('snapshots', requests.digest)
  const snapshot = await artifacts.locate('snapshots', snapshotDigest)
  const untested = await withDuck(async (duck) => {
    await duck.run(`create temp table taught as select * from ${textLiteral(path)} as asked
      where not exists (select 1 from ${textLiteral(snapshot)} as tested
        where tested.${snapshotColumns.part} = 'test' and ${isSameRow(features)})
      order by ${requestColumns.id}`)
    return readTable(duck, 'taught where true', [
      ...Object.keys(sentFeatures(features)),
      requestColumns.answer,
    ])
  })
  const { table, failed } = await prepared(features, untested)
  const logged = requireColumn(table, requestColumns.answer)
  const answers = Array.from({ length: table.rows }, (_, row) => {
    const told = cellOf(logged, row)
    return told === null ? undefined : (JSON.parse(String(told)) as number[])
  })
  const places = answers.map((_, row) => row)
  const open = places.filter((row) => answers[row] === undefined)
  const asked = isRemote(parent) ? [] : open
  const names = Object.keys(features)
  const given = await askRows(
    (some) => reader.answer(parent, listRows(some, names)),
    pickRows(table, names, asked),
    { name: 'the parent', width: outputWidth(parent.output) },
  )
  given.answers.forEach((answer, at) => (answers[asked[at]!] = answer))
  const taught = places.filter((row) => answers[row]?.every(Number.isFinite) === true)
  const left = (rows: number, why: string) =>
    rows === 0 ? [] : [`${counted(rows, 'request')} ${why} ${rows === 1 ? 'is' : 'are'} left out`]
  return {
    data: pickRows(table, names, taught),
    answers: taught.map((row) => answers[row]!),
    facts: {
      ...requests,
      taught: taught.length,
      logged: table.rows - open.length,
      leftOut: [
        ...requests.leftOut,
        ...left(requests.rows - untested.rows, 'with the values of a test row'),
        ...left(failed + table.rows - taught.length, 'that the parent does not answer'),
      ],
    },
  }
}

/** The log has numbers of 32 bits. */
const isSameRow = (features: Features): string =>
  Object.entries(sentFeatures(features))
    .map(([name, { kind }]) => {
      const column = quotedIdentifier(name)
      const type = kind === 'number' ? 'float' : 'varchar'
      return `try_cast(asked.${column} as ${type}) is not distinct from try_cast(tested.${column} as ${type})`
    })
    .join(' and ')

/** Adds the columns of `prepare`, without the rows for which an expression fails. */
async function prepared(
  features: Features,
  table: ColumnTable,
): Promise<{ table: ColumnTable; failed: number }> {
  if (computedColumns(features).length === 0) return { table, failed: 0 }
  const preparer = await openPreparer(features)
  try {
    const computed = await preparer.compute((name) => listCells(requireColumn(table, name)), table.rows)
    const all = withComputedCells(table, computed)
    const columns = Object.values(computed)
    const fine = Array.from({ length: table.rows }, (_, row) => row).filter(
      (row) => !columns.some((cells) => isFailedCell(cells[row])),
    )
    return { table: pickRows(all, Object.keys(all.columns), fine), failed: table.rows - fine.length }
  } finally {
    preparer.close()
  }
}
