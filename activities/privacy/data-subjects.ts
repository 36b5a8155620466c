/**
 * Handles the data subjects of a snapshot: removes the rows of erased subjects before use, and stores the hashes of the others beside the
 * snapshot, so that a later erasure can find it.
 */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { DomainError } from '../../domain/errors.ts'
import { textLiteral, quotedIdentifier } from '../../domain/sql-text.ts'
import type { Artifacts } from '../../store/artifacts.ts'
import { listErasedSubjects } from '../../store/privacy/erased-subjects.ts'
import {
  listDueSnapshots,
  listModelSnapshots,
  markSnapshotDropped,
} from '../../store/privacy/erased-snapshots.ts'
import type { Database } from '../../store/postgres.ts'
import type { SubjectKey } from '../../store/signing/subject-hash.ts'
import type { Deps } from '../deps.ts'
import { withDuck, type Duck } from '../data/duckdb.ts'

/** Returns the digest of the list; undefined for a model without a subject column. Changes the table `known`. */
export async function settleSubjects(
  duck: Duck,
  { store, artifacts }: { store: Database; artifacts: Artifacts },
  { name: model, subject }: ModelDefinition,
  subjectKey: SubjectKey | undefined,
): Promise<string | undefined> {
  if (subject === undefined) return undefined
  if (subjectKey === undefined)
    throw new DomainError('internal', `the rows of ${model} have data subjects, but no signing key is set`)
  await expectColumn(duck, model, subject)
  const column = quotedIdentifier(subject)
  const hashOf = (value: string) => `sha256(${textLiteral(subjectKey.key)} || cast(${value} as varchar))`
  const hash = hashOf(column)
  const erased = await listErasedSubjects(store, { model, subjectKey })
  // An earlier build read the texts of a CSV as numbers, and an erasure then named 1001.50 as 1001.5.
  const text = `cast(${column} as varchar)`
  const spellings = [column, `try_cast(${text} as bigint)`, `try_cast(${text} as double)`]
  if (erased.length > 0) {
    const list = erased.map(textLiteral).join(', ')
    await duck.run(
      `delete from known where ${spellings.map((each) => `${hashOf(each)} in (${list})`).join(' or ')}`,
    )
  }
  const draft = await artifacts.draft('.parquet')
  await duck.run(
    `copy (select distinct ${hash} as subject from known where ${column} is not null order by subject)
     to ${textLiteral(draft)} (format parquet, compression zstd)`,
  )
  return (await artifacts.take('snapshots', draft)).digest
}

async function expectColumn(duck: Duck, model: string, subject: string): Promise<void> {
  const columns = await duck.rows<{ name: string }>('select column_name as name from (describe known)')
  const names = columns.map(({ name }) => name)
  if (!names.includes(subject))
    throw new DomainError(
      'invalid_model_file',
      `subject: the rows of ${model} have no column ${JSON.stringify(subject)}; they have ${names.slice(0, 50).join(', ')}`,
      { model, subject },
    )
}

/** Finds the snapshots of a model that contain a subject. Snapshots without a list are returned as unknown. */
export async function findSnapshotsOf(
  { store, artifacts }: Pick<Deps, 'store' | 'artifacts'>,
  { model, subjectHash }: { model: string; subjectHash: string },
): Promise<{ digest: string; holds: 'yes' | 'unknown' }[]> {
  const found: { digest: string; holds: 'yes' | 'unknown' }[] = []
  const snapshots = await listModelSnapshots(store, model)
  await withDuck(async (duck) => {
    for (const { digest, subjects } of snapshots) {
      if (subjects === undefined) {
        found.push({ digest, holds: 'unknown' })
        continue
      }
      const list = `read_parquet(${textLiteral(await artifacts.locate('snapshots', subjects))})`
      const held = await duck.rows(
        `select 1 from ${list} where subject = ${textLiteral(subjectHash)} limit 1`,
      )
      if (held.length > 0) found.push({ digest, holds: 'yes' })
    }
  })
  return found
}

/** Deletes snapshots past their deadline; a running training keeps its snapshot for another hour. Returns their number. */
export async function dropErasedSnapshots({ store, artifacts, log }: Deps): Promise<number> {
  const due = await listDueSnapshots(store)
  for (const { digest, subjects } of due) {
    await artifacts.remove('snapshots', digest)
    if (subjects !== undefined) await artifacts.remove('snapshots', subjects)
    await markSnapshotDropped(store, digest)
    log.info({ snapshot: digest }, 'snapshot of an erased subject deleted')
  }
  return due.length
}
