/** `tenure backup` and `tenure restore`: writes the installation to one file, and restores it under a new routing epoch. */
import { userInfo } from 'node:os'
import { resolve } from 'node:path'
import type { RestoredState } from '../../backup/after-restore.ts'
import type { Installation } from '../../backup/installation.ts'
import { usageError } from '../../client/client.ts'
import type { CommandSpec } from '../../program.ts'
import { tableBy, type Terminal } from '../../terminal.ts'
import { time } from '../format.ts'

export const backupCommand: CommandSpec = {
  name: 'backup <file>',
  summary: 'Write the database, artifacts and audit heads to one file (also while Tenure runs)',
  options: [
    ['--without-snapshots', 'Leave out training snapshots; trainings cannot be repeated from such a backup'],
    ['--allow-missing', 'Leave out missing artifacts instead of failing'],
  ],
  examples: ['backup /backups/tenure-2026-03-01.tar', 'backup nightly.tar --without-snapshots --json'],
  async run({ terminal }, { args, options }) {
    const { openInstallation } = await import('../../backup/installation.ts')
    const { makeBackup } = await import('../../backup/create.ts')
    const place = await openInstallation({ make: false })
    try {
      const made = await makeBackup(place, {
        file: resolve(String(args[0])),
        snapshots: options['withoutSnapshots'] !== true,
        allowMissing: options['allowMissing'] === true,
        onProgress: (what) => terminal.progress(what),
      })
      terminal.answer(
        made,
        [
          `${made.file}: ${megabytes(made.bytes)}, as of ${time(made.taken_at)} (UTC)`,
          `${made.rows} rows of ${made.tables} tables, ${made.artifacts} files of artifacts and snapshots`,
          ...made.missing.map((each) => terminal.paint('yellow', `left out: ${each}`)),
          `The signing keys are not included: back up ${place.config.signing.keys} separately.`,
        ].join('\n'),
      )
    } finally {
      await place.close()
    }
  },
}

export const restoreCommand: CommandSpec = {
  name: 'restore [file]',
  summary: 'Restore a backup and raise the routing epoch',
  options: [
    ['--replace', 'Replace a database that is not empty'],
    ['--re-sign', 'Sign the versions of the backup with the signing key of this installation'],
    [
      '--after-point-in-time',
      'No file: the database was restored by other means; only raise the epoch and close open work',
    ],
  ],
  examples: [
    'restore /backups/tenure-2026-03-01.tar',
    'restore nightly.tar --replace',
    'restore --after-point-in-time',
  ],
  async run({ terminal }, { args, options }) {
    // No key is required: access to the owner's database password already permits everything.
    const actor = `cli/${userInfo().username}`
    const [file] = args
    const byOtherMeans = options['afterPointInTime'] === true
    if ((file === undefined) !== byOtherMeans)
      throw usageError(byOtherMeans ? '--after-point-in-time takes no file' : 'the backup file is missing')
    if (file !== undefined) {
      // Checked before a database is created for it.
      const { openArchive } = await import('../../backup/read-archive.ts')
      await openArchive(resolve(file))
    }
    const { openInstallation } = await import('../../backup/installation.ts')
    const place = await openInstallation({ make: !byOtherMeans })
    try {
      if (file === undefined) {
        const { completePointInTimeRestore } = await import('../../backup/after-restore.ts')
        const done = await completePointInTimeRestore(place, actor)
        if (place.running) await renewLocalKey(place)
        return terminal.answer(done, afterwardsLines(terminal, done).join('\n'))
      }
      const { restoreBackup } = await import('../../backup/restore.ts')
      const done = await restoreBackup(place, {
        file: resolve(file),
        replace: options['replace'] === true,
        reSign: options['reSign'] === true,
        actor,
        onProgress: (what) => terminal.progress(what),
      })
      if (place.running) await renewLocalKey(place)
      terminal.answer(
        done,
        [
          `Restored ${done.file} of ${time(done.taken_at)} (UTC): ${done.rows} rows, ${done.artifacts} files`,
          ...afterwardsLines(terminal, done),
          ...done.missing.map((each) => `missing in the backup: ${each}`),
        ].join('\n'),
      )
    } finally {
      await place.close()
    }
  },
}

function afterwardsLines(terminal: Terminal, done: RestoredState & { set_aside: string[] }): string[] {
  const ended = Object.entries(done.ended).filter(([, count]) => count > 0)
  return [
    ...(done.routes.length === 0
      ? [`Routing epoch ${done.epoch}; no model has a route yet.`]
      : [
          `Routing epoch ${done.epoch}. Every replica now follows these routes:`,
          tableBy(terminal, done.routes, { model: 'model', champion: 'version', generation: 'generation' }),
        ]),
    ...ended.map(([kind, count]) => `closed ${count} open ${kind}: their workflows no longer run`),
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
  const store = openStore(databaseUrl, { name: 'tenure restore', max: 1 })
  try {
    const key = await ensureKey(store, { name: 'local', role: 'admin', known: found.key })
    writeConnection(config.stateDir, { ...found, key })
  } finally {
    await store.close()
  }
}

const megabytes = (bytes: number): string => `${(bytes / 1_000_000).toFixed(1)} MB`
