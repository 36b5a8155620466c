/**
 * Completes the restore of a database to an earlier time: raises the epoch, closes interrupted work, writes an audit row and
 * archives newer audit heads.
 */
import { appendAudit, listAudit, verifyAudit } from '../../store/audit/audit-log.ts'
import { openRowVerifier, rowSigner } from '../../store/audit/row-signatures.ts'
import { headFiles, readHeads } from '../../store/audit/signed-heads.ts'
import { renumberPredictions } from '../../store/integrations/sent-predictions.ts'
import {
  endInterruptedWork,
  hasEpoch,
  raiseEpoch,
  renewKillSwitches,
} from '../../store/maintenance/routing-epoch.ts'
import { archiveHeads, type ArchivedHeads } from '../../store/maintenance/archive-audit-heads.ts'
import { findGivenNumbers, type GivenNumbers } from '../../store/registry/given-numbers.ts'
import { openStore, type Database, type Store } from '../../store/postgres.ts'
import { resignArtifacts } from '../../store/signing/artifact-signatures.ts'
import { openSigner, openPublicKeys } from '../../store/signing/signing-key.ts'
import { failure } from '../client/client.ts'
import type { Installation } from './installation.ts'

export interface RestoredState {
  epoch: number
  /** The route of each model now. */
  routes: { model: string; version: string; generation: number }[]
  /** Interrupted work that was closed, counted by kind. */
  ended: Record<string, number>
}

/** How many numbers are skipped where it is unknown how many versions were registered after the backup. */
const skippedNumbers = 100

export async function completeRestore(
  database: Database,
  entry: {
    actor: string
    action: string
    why: string
    detail: Record<string, unknown>
    /** The numbers in the replaced database, as far as it had versions. */
    given?: GivenNumbers
  },
): Promise<RestoredState> {
  const { actor, action, why, detail, given } = entry
  const skipped = Object.entries(await findGivenNumbers(database)).map(
    ([model, { major, minor }]) => [model, { major, minor: minor + skippedNumbers, patch: 0 }] as const,
  )
  const numbers = { ...Object.fromEntries(skipped), ...given }
  const { epoch, routes } = await raiseEpoch(database, why)
  const ended = await endInterruptedWork(database, why)
  await renewKillSwitches(database, epoch)
  await renumberPredictions(database)
  const current = routes.map(({ model, generation, arms }) => ({
    model,
    version: arms[0]?.version ?? '',
    generation,
  }))
  await appendAudit(database, {
    actor,
    action,
    subject: 'database',
    detail: { ...detail, epoch, routes: current, ended, numbers },
  })
  return { epoch, routes: current, ended }
}

/**
 * After an error of the commit: puts the audit heads back unless Postgres has carried the restore out without an answer, and returns whether
 * it has. While Postgres does not say, they stay archived and the error is thrown: heads that name other rows would refuse the repetition.
 */
export async function undoUnlessCarriedOut(
  store: Store,
  { settled, aside }: { settled: RestoredState | undefined; aside: ArchivedHeads | undefined },
): Promise<boolean> {
  const isDone = settled !== undefined && (await hasEpoch(store, settled.epoch))
  if (!isDone) await aside?.undo()
  return isDone
}

/** Time limit for verifying the whole audit log. */
const queryMs = 60_000

export async function completePointInTimeRestore(
  { config, databaseUrl }: Pick<Installation, 'config' | 'databaseUrl'>,
  actor: string,
): Promise<RestoredState & { set_aside: string[] }> {
  const signer = await openSigner(config.signing, 'artifacts')
  const signAudit = rowSigner(signer)
  const store = openStore(databaseUrl, {
    name: 'tenure restore',
    max: 2,
    queryMs,
    idleMs: queryMs,
    signAudit,
  })
  const files = headFiles(config)
  try {
    const { heads } = await readHeads(files, openPublicKeys(config.signing, 'heads')).read()
    const [newest] = await listAudit(store, { limit: 1 })
    const lastSeq = newest?.seq ?? 0
    const { breach } = await verifyAudit(store, {
      heads: heads.filter(({ seq }) => seq <= lastSeq),
      isSigned: openRowVerifier(config.signing),
    })
    if (breach !== undefined)
      throw failure({
        code: 'otherwise',
        detail: `the audit log of this database does not belong to this installation: ${breach}`,
        remedy: 'Nothing was changed. Compare the database with a backup before using it.',
      })
    const why = 'the database was restored to an earlier time'
    const detail = { from: lastSeq }
    let aside: ArchivedHeads | undefined
    let settled: RestoredState | undefined
    try {
      await store.transaction(async (database) => {
        // Versions of that time may be signed with a key that is rotated since.
        await resignArtifacts(database, signer, {
          keys: openPublicKeys(config.signing, 'artifacts'),
          signedMs: newest && Date.parse(newest.at),
        })
        settled = await completeRestore(database, { actor, action: 'database.restored', why, detail })
        aside = await archiveHeads(files, { lastSeq, stamp: `epoch-${settled.epoch}` })
      })
    } catch (error) {
      if (!(await undoUnlessCarriedOut(store, { settled, aside }))) throw error
    }
    return { ...settled!, set_aside: aside?.files ?? [] }
  } finally {
    await store.close()
  }
}
