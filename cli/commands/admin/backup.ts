/** `tenure backup`: writes the installation to one file, verifies such a file, and runs the scheduled backups. */
import { existsSync } from 'node:fs'
import { readCommandConfig } from '../../../temporal.config.ts'
import { usageError } from '../../client/client.ts'
import type { CommandGroup, CommandSpec } from '../../program.ts'
import { tableBy } from '../../terminal.ts'

/** Refuses a single word, which may be a mistyped command, such as `list`. A directory may have such a name. */
function requireBackupPath(to: string): void {
  if (!/^[a-z]+$/.test(to) || existsSync(to)) return
  throw usageError(
    `${to} is no command of backup and no directory`,
    `Write ./${to} for a file of that name; see \`tenure backup --help\`.`,
  )
}

const createCommand: CommandSpec = {
  name: 'create <to>',
  isDefault: true,
  summary:
    'Write the database, the artifacts and the heads of the audit log to one file: its path, a directory or s3://bucket/prefix',
  options: [
    ['--without-snapshots', 'Leave out training snapshots; trainings cannot be repeated from such a backup'],
    ['--allow-missing', 'Leave out missing artifacts instead of failing'],
  ],
  examples: [
    'backup /backups/tenure-2026-03-01.tar',
    'backup s3://backups/nightly',
    'backup nightly.tar --without-snapshots --json',
  ],
  async run({ terminal }, { args, options }) {
    requireBackupPath(String(args[0]))
    const { openInstallation } = await import('../../backup/installation.ts')
    const { makeBackup } = await import('../../backup/create.ts')
    const { openBackupPlace, writeBackup } = await import('../../backup/backup-place.ts')
    const to = await openBackupPlace(String(args[0]), readCommandConfig().s3)
    const place = await openInstallation({ make: false })
    try {
      const made = await writeBackup(to, (file) =>
        makeBackup(place, {
          file,
          snapshots: options['withoutSnapshots'] !== true,
          allowMissing: options['allowMissing'] === true,
          onProgress: (what) => terminal.progress(what),
        }),
      )
      terminal.answer(
        made,
        [
          `${made.file}: ${megabytes(made.bytes)}, as of ${made.taken_at}`,
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

const verifyCommand: CommandSpec = {
  name: 'verify [from]',
  summary: 'Restore a backup into a scratch place and check it: rows, audit log, artifacts and routes',
  options: [['--without-restore', 'Only compare every byte with its digest; needs no Postgres']],
  examples: [
    'backup verify',
    'backup verify s3://backups/nightly',
    'backup verify nightly.tar --without-restore',
  ],
  async run({ terminal }, { args, options }) {
    const { fetchBackup, openBackupPlace } = await import('../../backup/backup-place.ts')
    const { checkBackupBytes, rehearseRestore } = await import('../../backup/scheduled/rehearse-restore.ts')
    const { readInstallationConfig } = await import('../../backup/installation.ts')
    const { backups, s3 } = readCommandConfig()
    const from = args[0] ?? backups?.to
    if (from === undefined)
      throw usageError('no backup is named', 'Name a file or a place, or set TENURE_BACKUP_TO.')
    const backup = await fetchBackup(await openBackupPlace(from, s3))
    try {
      if (options['withoutRestore'] === true) {
        const { takenAt, entries } = await checkBackupBytes(backup)
        const found = { file: backup.name, taken_at: takenAt, entries: Object.keys(entries).length }
        const text = `${found.file} of ${takenAt} is intact: ${found.entries} entries. It was not restored.`
        return terminal.answer(found, text)
      }
      const found = await rehearseRestore(readInstallationConfig(), {
        backup,
        onProgress: (what) => terminal.progress(what),
      })
      terminal.answer(
        found,
        [
          `${found.file} of ${found.taken_at} can be restored: it took ${found.seconds} s in a scratch place`,
          `${found.rows} rows, ${found.versions} versions with their artifacts, and an intact audit log`,
          ...(found.routes.length === 0
            ? ['No model has a route yet.']
            : [
                tableBy(
                  terminal,
                  found.routes,
                  { model: 'model', 'would serve': 'version' },
                  { keeps: ['would serve'] },
                ),
              ]),
        ].join('\n'),
      )
    } finally {
      await backup.remove()
    }
  },
}

const runCommand: CommandSpec = {
  name: 'run',
  summary: 'Take the scheduled backups of TENURE_BACKUP_TO until stopped; `tenure up` runs it',
  examples: ['backup run'],
  async run() {
    const { backups, s3 } = readCommandConfig()
    if (backups === undefined)
      throw usageError('TENURE_BACKUP_TO is not set', 'Set it to s3://bucket/prefix or a directory.')
    const { runBackups } = await import('../../backup/scheduled/run-backups.ts')
    await runBackups(backups, s3)
  },
}

const offCommand: CommandSpec = {
  name: 'off',
  summary: 'Record that backups are no longer scheduled, so that no alert reports a late backup',
  examples: ['backup off'],
  async run({ terminal }) {
    const { openInstallation } = await import('../../backup/installation.ts')
    const { endSchedule } = await import('../../backup/scheduled/end-schedule.ts')
    const { openStore } = await import('../../../store/postgres.ts')
    const place = await openInstallation({ make: false })
    const store = openStore(place.databaseUrl, { name: 'tenure backup off', max: 1 })
    try {
      const to = await endSchedule(store)
      terminal.answer(
        { to: to ?? null },
        to === undefined
          ? 'No backups are scheduled.'
          : `No backups to ${to} are scheduled any more. Those that were taken stay there.`,
      )
    } finally {
      await store.close()
      await place.close()
    }
  },
}

export const backupCommand: CommandGroup = {
  name: 'backup',
  summary: 'Write, verify and schedule backups',
  commands: [createCommand, verifyCommand, runCommand, offCommand],
}

const megabytes = (bytes: number): string => `${(bytes / 1_000_000).toFixed(1)} MB`
