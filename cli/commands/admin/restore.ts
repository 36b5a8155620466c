/** `tenure restore`: restores a backup, or completes a restore made by other means, under a new routing epoch. */
import { readCommandConfig } from '../../../temporal.config.ts'
import type { RestoredState } from '../../backup/after-restore.ts'
import type { LocalBackup } from '../../backup/backup-place.ts'
import type { Installation } from '../../backup/installation.ts'
import { usageError } from '../../client/client.ts'
import { exitCodes, type ExitCode } from '../../exit-codes.ts'
import { localActor } from '../../local-actor.ts'
import type { CommandSpec, Options } from '../../program.ts'
import { tableBy, type Terminal } from '../../terminal.ts'
import { readTime } from '../../time-option.ts'

export const restoreCommand: CommandSpec = {
  name: 'restore [from]',
  summary: 'Restore a backup; the replicas then follow its routes',
  options: [
    ['--replace', 'Replace a database that is not empty'],
    [
      '--at <time|latest>',
      'Restore the Postgres of `tenure up` to a moment, such as 2026-03-01T12:00:00Z, or to the `latest`, from TENURE_BACKUP_TO or the place named',
    ],
    ['--re-sign', 'Sign the versions of the backup with the signing key of this installation'],
    [
      '--after-point-in-time',
      'After the database was restored by other means: restore nothing, raise the routing epoch and end open work',
    ],
  ],
  examples: [
    'restore /backups/tenure-2026-03-01.tar',
    'restore s3://backups/nightly --replace',
    'restore --at 2026-03-01T12:00:00Z --replace',
    'restore s3://backups/nightly --at latest',
    'restore --after-point-in-time',
  ],
  async run({ terminal }, { args, options }) {
    // No key is required: the owner's database password already permits everything.
    const actor = localActor()
    const [from] = args
    if (options['at'] !== undefined)
      return restoreMoment(terminal, { from, at: String(options['at']), actor, options })
    const byOtherMeans = options['afterPointInTime'] === true
    if ((from === undefined) !== byOtherMeans)
      throw usageError(
        byOtherMeans ? '--after-point-in-time takes no file' : 'no backup is named: `tenure restore <file>`',
      )
    const backup = from === undefined ? undefined : await fetchVerifiedBackup(from)
    const { openInstallation } = await import('../../backup/installation.ts')
    const place = await openInstallation({ make: !byOtherMeans }).catch(async (error: unknown) => {
      await backup?.remove()
      throw error
    })
    try {
      if (backup === undefined) {
        const { completePointInTimeRestore } = await import('../../backup/after-restore.ts')
        const done = await completePointInTimeRestore(place, actor)
        if (place.running) await renewLocalKey(place)
        return terminal.answer(done, afterwardsLines(terminal, done).join('\n'))
      }
      const { restoreBackup } = await import('../../backup/restore.ts')
      const done = await restoreBackup(place, {
        backup,
        replace: options['replace'] === true,
        reSign: options['reSign'] === true,
        actor,
        onProgress: (what) => terminal.progress(what),
      })
      if (place.running) await renewLocalKey(place)
      terminal.answer(
        done,
        [
          `Restored ${done.file} of ${done.taken_at}: ${done.rows} rows, ${done.artifacts} files`,
          ...afterwardsLines(terminal, done),
          ...done.missing.map((each) => `missing in the backup: ${each}`),
        ].join('\n'),
      )
    } finally {
      await place.close()
      await backup?.remove()
    }
  },
}

async function restoreMoment(
  terminal: Terminal,
  given: { from: string | undefined; at: string; actor: string; options: Options },
): Promise<ExitCode> {
  const { at, actor, options } = given
  const { backups, s3 } = readCommandConfig()
  const from = given.from ?? backups?.to
  if (options['afterPointInTime'] === true)
    throw usageError('--at already completes the restore', 'Leave out --after-point-in-time.')
  if (from === undefined)
    throw usageError(
      'the place of the backups is missing',
      'Name a directory or s3://bucket/prefix, or set TENURE_BACKUP_TO.',
    )
  const moment = at === 'latest' ? undefined : readTime('--at', at, terminal, { needsZone: true })
  const { openBackupStore } = await import('../../backup/backup-place.ts')
  const { restoreTo } = await import('../../backup/point-in-time/restore-to.ts')
  const done = await restoreTo({
    store: openBackupStore(from, s3),
    at: moment,
    replace: options['replace'] === true,
    reSign: options['reSign'] === true,
    actor,
    onProgress: (what) => terminal.progress(what),
  })
  const lost = done.routes.filter(({ version }) =>
    done.missing.some((each) => each.startsWith(`${version}: `)),
  )
  terminal.answer(
    done,
    [
      `Restored ${done.file} and ${done.log_files} log files; the last transaction is from ${done.restored_to}`,
      `Restored ${done.artifacts} files of artifacts and snapshots`,
      ...afterwardsLines(terminal, done),
      ...done.missing.map((each) => `missing: ${each}`),
      ...lost.map(
        ({ model, version }) =>
          `${version} cannot serve: bring its artifact back, or run \`tenure rollback ${model}\``,
      ),
    ].join('\n'),
  )
  return lost.length === 0 ? exitCodes.done : exitCodes.otherwise
}

/** Copies the backup to this machine and checks that it is one, before a database is created for it. */
export async function fetchVerifiedBackup(from: string): Promise<LocalBackup> {
  const { fetchBackup, openBackupPlace } = await import('../../backup/backup-place.ts')
  const { openArchive } = await import('../../backup/read-archive.ts')
  const backup = await fetchBackup(await openBackupPlace(from, readCommandConfig().s3))
  await openArchive(backup).catch(async (error: unknown) => {
    await backup.remove()
    throw error
  })
  return backup
}

function afterwardsLines(terminal: Terminal, done: RestoredState & { set_aside: string[] }): string[] {
  const ended = Object.entries(done.ended).filter(([, count]) => count > 0)
  return [
    ...(done.routes.length === 0
      ? [`Routing epoch ${done.epoch}; no model has a route yet.`]
      : [
          `Routing epoch ${done.epoch}. Every replica now follows these routes:`,
          tableBy(
            terminal,
            done.routes,
            { model: 'model', champion: 'version', generation: 'generation' },
            { keeps: ['champion'] },
          ),
        ]),
    ...ended.map(([kind, count]) => `Ended open ${kind}: ${count}. Their workflows no longer run.`),
    ...done.set_aside.map((each) => `Audit heads newer than the backup are kept in ${each}`),
    'API keys rotated since the backup have their old secret again. Rotate them now.',
  ]
}

/** Renews the key of the commands on this machine, because the backup may not contain it. */
async function renewLocalKey({ config, databaseUrl }: Installation): Promise<void> {
  const { findConnection, writeConnection } = await import('../../client/connection.ts')
  const { ensureKey } = await import('../../supervisor/bootstrap.ts')
  const { openStore } = await import('../../../store/postgres.ts')
  const found = findConnection(config.stateDir)
  if (found === undefined) return
  const { rowSigner } = await import('../../../store/audit/row-signatures.ts')
  const { openSigner } = await import('../../../store/signing/signing-key.ts')
  const signAudit = rowSigner(await openSigner(config.signing, 'artifacts'))
  const store = openStore(databaseUrl, { name: 'tenure restore', max: 1, signAudit })
  try {
    const key = await ensureKey(store, { name: 'local', role: 'admin', known: found.key })
    writeConnection(config.stateDir, { ...found, key })
  } finally {
    await store.close()
  }
}
