/** Runs the scheduled backups as a process: under `tenure up`, or standalone beside the user's own servers. */
import type { BackupSettings, S3Access } from '../../../store/objects/settings.ts'
import { fetchBackup, openBackupStore } from '../backup-place.ts'
import { openInstallation } from '../installation.ts'
import { keepBackups } from './keep-backups.ts'
import { canRehearse, checkBackupBytes, rehearseRestore } from './rehearse-restore.ts'

export async function runBackups(settings: BackupSettings, s3: S3Access | undefined): Promise<void> {
  const store = openBackupStore(settings.to, s3)
  const installation = await openInstallation({ make: false })
  const ending = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ending.abort())
  const log = (line: string): void => void process.stdout.write(`${line}\n`)
  try {
    await keepBackups(installation, {
      settings,
      store,
      log,
      signal: ending.signal,
      async verify(name) {
        const backup = await fetchBackup({ store, name })
        try {
          if (!canRehearse()) {
            await checkBackupBytes(backup)
            return log(`${name} is intact; it was not restored, because Postgres is not installed here`)
          }
          const { rows, versions, seconds } = await rehearseRestore(installation.config, { backup })
          log(`${name} was restored in a scratch place: ${rows} rows, ${versions} versions, ${seconds} s`)
        } finally {
          await backup.remove()
        }
      },
    })
  } finally {
    await installation.close()
  }
  // A dump under way is abandoned: the next process starts it again.
  process.exit()
}
