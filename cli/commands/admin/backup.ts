/** `tenure backup` and `tenure restore`: everything in one file, and back from it without old routing coming back too. */
import { userInfo } from 'node:os'
import { resolve } from 'node:path'
import type { Place } from '../../backup/installation.ts'
import { failure } from '../../client/client.ts'
import type { CommandSpec, Session } from '../../program.ts'
import { tableOf } from '../../terminal.ts'
import { time } from '../format.ts'

export const backupCommand: CommandSpec = {
  name: 'backup <file>',
  summary: 'writes the database, the artifacts and the audit heads to one file; also while Tenure runs',
  options: [
    [
      '--without-snapshots',
      'leave out the rows that versions were trained on; a training cannot be repeated then',
    ],
    ['--allow-missing', 'leave out artifacts of versions that are not there, instead of making no backup'],
  ],
  examples: ['backup /backups/tenure-2026-03-01.tar', 'backup nightly.tar --without-snapshots --json'],
  async run(session, { args, options }) {
    const { terminal } = session
    const { openPlace } = await import('../../backup/installation.ts')
    const { makeBackup } = await import('../../backup/create.ts')
    const place = await openPlace({ make: false })
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
          `${made.rows} row(s) of ${made.tables} tables, ${made.artifacts} file(s) of artifacts and snapshots`,
          ...made.missing.map((each) => terminal.paint('yellow', `left out: ${each}`)),
          `The private key is not in it: keep ${place.config.signingKey} elsewhere.`,
        ].join('\n'),
      )
    } finally {
      await place.close()
    }
  },
}

export const restoreCommand: CommandSpec = {
  name: 'restore [file]',
  summary: 'puts a backup back and raises the routing epoch, so that routing from before cannot come back',
  options: [
    ['--replace', 'in the place of what is there; without it the database must be empty'],
    ['--vouch', 'let the signing key that is here vouch for the versions of the backup'],
    [
      '--after-point-in-time',
      'no file: the database was put back to an earlier moment by other means; do what belongs to it',
    ],
  ],
  examples: [
    'restore /backups/tenure-2026-03-01.tar',
    'restore nightly.tar --replace',
    'restore --after-point-in-time',
  ],
  async run(session, { args, options }) {
    const file = args[0]
    const byOtherMeans = options['afterPointInTime'] === true
    if ((file === undefined) !== byOtherMeans)
      throw failure({
        code: 'usage',
        detail: byOtherMeans
          ? '--after-point-in-time takes no file: the database is there already'
          : 'the file of a backup is missing',
        remedy: 'See `tenure restore --help`.',
      })
    if (file !== undefined) {
      // Before a database is made for it.
      const { openArchive } = await import('../../backup/read-archive.ts')
      await openArchive(resolve(file))
    }
    const { openPlace } = await import('../../backup/installation.ts')
    const place = await openPlace({ make: !byOtherMeans })
    try {
      if (file === undefined) await afterPointInTime(session, place)
      else await fromFile(session, { place, file, options })
    } finally {
      await place.close()
    }
  },
}

async function fromFile(
  { terminal }: Session,
  { place, file, options }: { place: Place; file: string; options: Readonly<Record<string, unknown>> },
): Promise<void> {
  const { restoreBackup } = await import('../../backup/restore.ts')
  const done = await restoreBackup(place, {
    file: resolve(file),
    replace: options['replace'] === true,
    vouch: options['vouch'] === true,
    actor: actor(),
    onProgress: (what) => terminal.progress(what),
  })
  if (place.running) await renewLocalKey(place)
  terminal.answer(
    done,
    [
      `${done.file} of ${time(done.taken_at)} (UTC) is back: ${done.rows} row(s), ${done.artifacts} file(s)`,
      ...told(done),
      ...done.missing.map((each) => `was not in the backup: ${each}`),
    ].join('\n'),
  )
}

async function afterPointInTime({ terminal }: Session, place: Place): Promise<void> {
  const { settleAsIs } = await import('../../backup/after-restore.ts')
  const done = await settleAsIs(place, actor())
  if (place.running) await renewLocalKey(place)
  terminal.answer(done, told(done).join('\n'))
}

function told(done: {
  epoch: number
  routes: { model: string; version: string; generation: number }[]
  ended: Record<string, number>
  set_aside: string[]
}): string[] {
  const ended = Object.entries(done.ended).filter(([, count]) => count > 0)
  return [
    ...(done.routes.length === 0
      ? [`The routing epoch is ${done.epoch} now; no model has a route yet.`]
      : [
          `The routing epoch is ${done.epoch} now; every replica follows these routes and none from before:`,
          tableOf(
            ['model', 'champion', 'generation'],
            done.routes.map(({ model, version, generation }) => [model, version, String(generation)]),
          ),
        ]),
    ...ended.map(([kind, count]) => `${count} open ${kind} ended: nobody carries them any more`),
    ...done.set_aside.map((each) => `The heads of the audit that went further are kept in ${each}`),
    'Keys that were rotated since the backup have their earlier secret again: rotate them anew.',
  ]
}

/** The commands of this machine go on working where the backup does not know their key. */
async function renewLocalKey({ config, databaseUrl }: Place): Promise<void> {
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

/** Nobody asks for a key here: whoever may read the owner's password may do anything. */
const actor = (): string => `cli/${userInfo().username}`

const megabytes = (bytes: number): string => `${(bytes / 1_000_000).toFixed(1)} MB`
