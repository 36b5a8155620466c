/**
 * Handles the data subjects of a snapshot: removes the rows of erased subjects before use, and stores the hashes of the others beside the
 * snapshot, so that a later erasure can find it.
 */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { DomainError, isError } from '../../domain/errors.ts'
import { canonicalNumberSql } from '../../domain/values/names.ts'
import { numberTypes } from '../../domain/values/types.ts'
import { textLiteral, quotedIdentifier } from '../../domain/sql-text.ts'
import type { Artifacts } from '../../store/artifacts.ts'
import { listErasedSubjects, lockErasedSubjects } from '../../store/privacy/erased-subjects.ts'
import {
  isListShared,
  listDueSnapshots,
  listModelSnapshots,
  markSnapshotDropped,
} from '../../store/privacy/erased-snapshots.ts'
import type { HashedSubject } from '../../store/privacy/hashed-subject.ts'
import type { Database } from '../../store/postgres.ts'
import { openSubjectKey, type SubjectKey } from '../../store/signing/subject-hash.ts'
import { insertSnapshot, type Snapshot } from '../../store/training/snapshots.ts'
import type { Deps } from '../deps.ts'
import { withDuck, type Duck } from '../data/duckdb.ts'
import { columnTypes } from '../data/rows.ts'

export interface SettledSubjects {
  /** The digest of the list. */
  subjects: string
  /** Whether the column is a number, which has other spellings elsewhere. */
  subjectIsNumber: boolean
}

/**
 * Undefined for a model without a subject column. Changes the table `known`. `exactNumbers`: columns of it with numbers, whatever their
 * type.
 */
export async function settleSubjects(
  duck: Duck,
  { store, artifacts }: { store: Database; artifacts: Artifacts },
  { name: model, subject }: Pick<ModelDefinition, 'name' | 'subject'>,
  { subjectKey, exactNumbers }: { subjectKey: SubjectKey | undefined; exactNumbers: readonly string[] },
): Promise<SettledSubjects | undefined> {
  if (subject === undefined) return undefined
  if (subjectKey === undefined)
    throw new DomainError('internal', `the rows of ${model} have data subjects, but no signing key is set`)
  const type = await typeOf(duck, model, subject)
  const subjectIsNumber = exactNumbers.includes(subject) || new RegExp(numberTypes).test(type)
  const column = quotedIdentifier(subject)
  const text = 'cast(person as varchar)'
  const number = canonicalNumberSql('person')
  const name = subjectIsNumber && !/INT/.test(type) ? number : text
  const hashOf = (value: string) => `sha256(${textLiteral(subjectKey.key)} || ${value})`
  // Each person is hashed once, however many rows there are.
  const persons = `(select distinct ${column} as person from known where ${column} is not null)`
  const erased = await listErasedSubjects(store, { model, subjectKey })
  if (erased.length > 0) {
    // A person may have been erased while the column was a text, or while it was a number.
    const hashes = hashesIn(erased, { isNumber: subjectIsNumber })
    const named = [...new Set([name, text])].map((each) => isOneOf(hashOf(each), hashes))
    if (!subjectIsNumber) named.push(isOneOf(hashOf(number), numbersOf(erased)))
    await duck.run(
      `delete from known where ${column} in (select person from ${persons} where ${named.join(' or ')})`,
    )
  }
  const draft = await artifacts.draft('.parquet')
  // Where the column becomes a number later, a text is also found by the number that it writes.
  const written = subjectIsNumber ? 'cast(null as varchar)' : hashOf(number)
  await duck.run(
    `copy (select distinct ${hashOf(name)} as subject, ${written} as number from ${persons} where ${name} is not null order by subject)
     to ${textLiteral(draft)} (format parquet, compression zstd)`,
  )
  return { subjects: (await artifacts.take('snapshots', draft)).digest, subjectIsNumber }
}

/** The hashes of erased persons in a column: those of their keys, and in a column of numbers also those of the numbers that these write. */
const hashesIn = (erased: readonly HashedSubject[], { isNumber }: { isNumber: boolean }): string[] =>
  erased.flatMap(({ subjectHash, numberHash }) =>
    isNumber && numberHash !== undefined ? [subjectHash, numberHash] : [subjectHash],
  )

/** The hashes of the persons who were erased as numbers. */
const numbersOf = (erased: readonly HashedSubject[]): string[] =>
  erased.filter(({ isNumber }) => isNumber).map(({ subjectHash }) => subjectHash)

const isOneOf = (hash: string, hashes: readonly string[]): string =>
  hashes.length === 0 ? 'false' : `${hash} in (${hashes.map(textLiteral).join(', ')})`

/** Throws `invalid_model_file` without the column. */
async function typeOf(duck: Duck, model: string, subject: string): Promise<string> {
  const types = await columnTypes(duck, 'known')
  const type = types.get(subject)
  if (type !== undefined) return type
  throw new DomainError(
    'invalid_model_file',
    `subject: the rows of ${model} have no column ${JSON.stringify(subject)}; they have ${[...types.keys()].slice(0, 50).join(', ')}`,
    { model, subject },
  )
}

/**
 * Stores a snapshot and returns true, unless its list of data subjects holds one who was erased while it was taken. Without a list it is
 * stored.
 */
export async function insertUnlessErased(
  { store, artifacts, config }: Pick<Deps, 'store' | 'artifacts' | 'config'>,
  snapshot: Snapshot,
  { subjects, subjectIsNumber: isNumber }: Partial<SettledSubjects>,
): Promise<boolean> {
  if (subjects === undefined) {
    await insertSnapshot(store, snapshot)
    return true
  }
  const { model } = snapshot
  const subjectKey = await openSubjectKey(config.signing.subjectKey)
  for (;;) {
    const erased = await listErasedSubjects(store, { model, subjectKey })
    if (await withDuck((duck) => holdsAny(duck, artifacts, { subjects, isNumber }, erased))) return false
    // An erasure that follows the transaction lists this snapshot; one that came before it is searched for.
    const isStored = await store.transaction(async (database) => {
      await lockErasedSubjects(database, model)
      const now = await listErasedSubjects(database, { model, subjectKey })
      if (JSON.stringify(now) !== JSON.stringify(erased)) return false
      await insertSnapshot(database, snapshot)
      return true
    })
    if (isStored) return true
  }
}

/**
 * Finds the snapshots of a model that contain a subject. Those whose list cannot be read or does not tell are returned as unknown, and with
 * `isDeclared` those without a list. Throws `artifact_corrupt` while the store has no file at all: its disk is then missing, and every snapshot would be
 * listed for deletion.
 */
export async function findSnapshotsOf(
  { store, artifacts }: Pick<Deps, 'store' | 'artifacts'>,
  { model, subject, isDeclared }: { model: string; subject: HashedSubject; isDeclared: boolean },
): Promise<{ digest: string; holds: 'yes' | 'unknown' }[]> {
  const found: { digest: string; holds: 'yes' | 'unknown' }[] = []
  const snapshots = await listModelSnapshots(store, model)
  await withDuck(async (duck) => {
    for (const { digest, subjects, isNumber } of snapshots) {
      if (subjects === undefined) {
        if (isDeclared) found.push({ digest, holds: 'unknown' })
        continue
      }
      const list = { subjects, isNumber }
      const holds = await holdsAny(duck, artifacts, list, [subject]).catch(async (error: unknown) => {
        if (!isError(error, 'artifact_corrupt')) throw error
        if (!(await hasFiles(artifacts))) throw error
        return undefined
      })
      if (holds !== false) found.push({ digest, holds: holds === undefined ? 'unknown' : 'yes' })
    }
  })
  return found
}

async function hasFiles(artifacts: Artifacts): Promise<boolean> {
  for (const area of ['artifacts', 'snapshots'] as const)
    for await (const _ of artifacts.list(area)) return true
  return false
}

/** Undefined if the list has texts of numbers and was stored without the numbers, as it was in the past. */
async function holdsAny(
  duck: Duck,
  artifacts: Artifacts,
  { subjects, isNumber: isOfNumbers = false }: { subjects: string; isNumber?: boolean },
  erased: readonly HashedSubject[],
): Promise<boolean | undefined> {
  const list = `read_parquet(${textLiteral(await artifacts.locate('snapshots', subjects))})`
  const numbers = isOfNumbers ? [] : numbersOf(erased)
  const hasNumbers = (await columnTypes(duck, list)).has('number')
  const hashes = hashesIn(erased, { isNumber: isOfNumbers })
  const named = [isOneOf('subject', hashes), ...(hasNumbers ? [isOneOf('number', numbers)] : [])]
  const found = await duck.rows(`select 1 from ${list} where ${named.join(' or ')} limit 1`)
  return found.length > 0 || (numbers.length > 0 && !hasNumbers ? undefined : false)
}

/** Deletes snapshots past their deadline; a running training keeps its snapshot for another hour. Returns their number. */
export async function dropErasedSnapshots({ store, artifacts, log }: Deps): Promise<number> {
  const due = await listDueSnapshots(store)
  for (const { digest, subjects } of due) {
    await artifacts.remove('snapshots', digest)
    if (subjects !== undefined && !(await isListShared(store, { digest, subjects })))
      await artifacts.remove('snapshots', subjects)
    await markSnapshotDropped(store, digest)
    log.info({ snapshot: digest }, 'snapshot of an erased subject deleted')
  }
  return due.length
}
