/** `tenure keys`: manages API keys. A secret is shown once, when it is created or rotated. */
import { setTimeout as sleep } from 'node:timers/promises'
import { roles } from '../../../domain/roles.ts'
import type { KeyAnswer } from '../../client/responses.ts'
import { failure, path, usageError, type Client } from '../../client/client.ts'
import { replaceStoredKey } from '../../client/connection.ts'
import { confirm, yesOption } from '../confirm.ts'
import type { CommandGroup, CommandSpec } from '../../program.ts'
import type { Terminal } from '../../terminal.ts'
import { orDash } from '../format.ts'
import { listCommand } from '../list.ts'
import { numberOption } from '../../number-option.ts'
import { appendAudit, findLinks } from '../../../store/audit/audit-log.ts'
import { rowSigner } from '../../../store/audit/row-signatures.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { resignArtifacts } from '../../../store/signing/artifact-signatures.ts'
import {
  keyPurposes,
  nextFile,
  trustedFile,
  type KeyPlaces,
  type KeyPurpose,
} from '../../../store/signing/key-files.ts'
import {
  defaultOverlapMs,
  prepareRotation,
  rotateSigningKey,
} from '../../../store/signing/rotate-signing-key.ts'
import { openPublicKeys, openSigner } from '../../../store/signing/signing-key.ts'
import { openInstallation } from '../../backup/installation.ts'

// `tenure keys rotate-signing`: replaces a signing key while the installation runs.

const defaultOverlapS = defaultOverlapMs / 1_000
/** Versions are signed again after all running workers have read the new key and before the former key ends. */
const minArtifactOverlapMs = 60_000
const readMs = 1_000
const statementMs = 60_000

const rotateSigningCommand: CommandSpec = {
  name: 'rotate-signing <purpose>',
  summary: `Replace a signing key of this machine: ${keyPurposes.join(', ')}`,
  options: [
    [
      '--overlap <seconds>',
      `How long signatures of the former key are accepted (default: ${defaultOverlapS})`,
    ],
    [
      '--prepare',
      'Only add the next key to the list of public keys, so that you can copy the list to other machines first',
    ],
  ],
  examples: ['keys rotate-signing replicas', 'keys rotate-signing artifacts --prepare'],
  async run({ terminal }, { args, options }) {
    const purpose = keyPurposes.find((each) => each === args[0])
    if (purpose === undefined)
      throw usageError(`the purpose must be one of ${keyPurposes.join(', ')}, not ${orDash(args[0])}`)
    const overlapS =
      numberOption(options, 'overlap', { min: 0, max: 3_650 * 86_400, whole: true }) ?? defaultOverlapS
    const place = await openInstallation({ make: false })
    const { signing } = place.config
    const list = trustedFile(signing, purpose)
    const store = openStore(place.databaseUrl, { name: 'tenure keys', max: 1, queryMs: statementMs })
    try {
      if (options['prepare'] === true) {
        const { publicPem: publicKey } = await prepareRotation(signing, purpose)
        const next = nextFile(signing, purpose)
        return terminal.answer(
          { purpose, prepared: publicKey, list, next },
          `The next key is ${next}; its public key is in ${list}. Copy the list to the other machines, then the key, as ` +
            'private.pem, to those that sign. Then run the command without --prepare.',
        )
      }
      // Fails before the rotation if the database is unreachable.
      await findLinks(store, 0)
      const overlapMs = Math.max(overlapS * 1_000, purpose === 'artifacts' ? minArtifactOverlapMs : 0)
      if (purpose === 'artifacts') await signAhead(store, signing)
      const { publicPem, formerUntil } = await rotateSigningKey(signing, purpose, { overlapMs })
      const resigned = await record(store, signing, purpose, { publicKey: publicPem, formerUntil })
      terminal.answer(
        { purpose, public_key: publicPem, former_until: formerUntil, resigned, list },
        [
          `The key for ${purpose} is replaced; running processes use the new one within a second.`,
          purpose === 'heads'
            ? 'Heads that were signed before stay valid.'
            : `Signatures of the former key count until ${formerUntil}.`,
          ...(purpose === 'artifacts' ? [`${resigned} versions are signed again.`] : []),
          `Copy ${list} to the other machines, and back up ${signing.keys}.`,
        ].join('\n'),
      )
    } finally {
      await store.close()
      await place.close()
    }
  },
}

/**
 * Signs the versions with the next key while the current one still counts, so that a rotation that is interrupted leaves none whose signature
 * ends.
 */
async function signAhead(store: Store, places: KeyPlaces): Promise<void> {
  const next = await prepareRotation(places, 'artifacts')
  await sleep(readMs)
  await store.transaction((database) => resignArtifacts(database, next, { keys: next }))
}

/** Signs the versions that were registered meanwhile and records the rotation in the audit log. Returns the number of versions. */
async function record(
  store: Store,
  places: KeyPlaces,
  purpose: KeyPurpose,
  detail: Record<string, unknown>,
): Promise<number> {
  const signer = await openSigner(places, purpose)
  if (purpose === 'artifacts') await sleep(readMs)
  return store.transaction(async (database) => {
    const resigned =
      purpose === 'artifacts'
        ? await resignArtifacts(database, signer, { keys: openPublicKeys(places, purpose) })
        : 0
    await appendAudit(
      { ...database, signAudit: rowSigner(signer) },
      {
        actor: 'local',
        action: 'signing_key.rotated',
        subject: purpose,
        detail: { ...detail, resigned },
      },
    )
    return resigned
  })
}

export const keysGroup: CommandGroup = {
  name: 'keys',
  summary: 'Create, list, rotate and revoke API keys',
  commands: [
    listCommand<KeyAnswer>({
      summary: 'List keys (without secrets)',
      examples: ['keys', 'keys list --json'],
      path: '/v1/keys',
      field: 'keys',
      none: 'No keys',
      pages: 'all',
      keeps: ['state', 'name'],
      droppable: ['created', 'expires', 'models', 'last used'],
      columns: {
        id: 'id',
        name: 'name',
        role: 'role',
        models: (each) => each.models?.join(', ') ?? 'all',
        created: 'created_at',
        expires: 'expires_at',
        'last used': 'last_used_at',
        state: stateOf,
      },
    }),
    {
      name: 'create <name>',
      summary: 'Create a key and show it once',
      options: [
        ['--role <role>', `One of ${roles.join(', ')}; required`],
        ['--models <models>', 'Models the key has access to, separated by commas (default: all)'],
        ['--expires <time>', 'Expiry time (default: never)'],
        ['--rate <n>', 'Requests per second at each replica (default: unlimited)'],
        ['--burst <n>', 'Maximum burst of requests (default: the rate)'],
      ],
      examples: [
        'keys create ada --role approver',
        'keys create shop --role predictor --models iris',
        'keys create warehouse --role labeller',
      ],
      async run({ terminal, api }, { args, options }) {
        const { role, models, expires } = options
        if (!roles.some((each) => each === role))
          throw usageError(
            role === undefined
              ? `--role is missing: one of ${roles.join(', ')} is required`
              : `--role must be one of ${roles.join(', ')}, not ${String(role)}`,
          )
        const client = api()
        const names = models === undefined ? undefined : namesIn(String(models))
        const answer = await client.post<KeyAnswer & { key: string }>('/v1/keys', {
          name: args[0],
          role,
          models: names,
          expires_at: expires,
          requests_per_second: numberOption(options, 'rate', { min: 1, max: 100_000, whole: true }),
          burst: numberOption(options, 'burst', { min: 1, max: 1_000_000, whole: true }),
        })
        terminal.answer(answer, shown(answer.key))
        if (names !== undefined) await warnOfUnknown(terminal, client, names)
      },
    },
    {
      name: 'rotate <id-or-name>',
      summary: 'Replace the secret of a key and show it once; the previous secret stays valid for a while',
      options: [
        ['--overlap <seconds>', 'How long the previous secret stays valid (default: 3600; 0: revoke it now)'],
      ],
      examples: ['keys rotate shop', 'keys rotate shop --overlap 86400'],
      async run({ terminal, api }, { args, options }) {
        const id = await keyIdOf(api(), String(args[0]))
        const answer = await api().post<KeyAnswer & { key: string; previous_until: string }>(
          path`/v1/keys/${id}/rotate`,
          { overlap_s: numberOption(options, 'overlap', { min: 0, max: 30 * 86_400, whole: true }) },
        )
        const isOwn = replaceStoredKey(id, answer.key)
        const use = isOwn ? ' Commands on this machine use the new one.' : ''
        terminal.answer(
          answer,
          `${shown(answer.key)}\nThe previous secret is valid until ${answer.previous_until}.${use}`,
        )
      },
    },
    {
      name: 'revoke <id-or-name>',
      summary: 'Revoke a key',
      options: [yesOption],
      examples: ['keys revoke ada', 'keys revoke 0b1c2d3e4f50'],
      async run({ terminal, api }, { args, options }) {
        const named = String(args[0])
        const id = await keyIdOf(api(), named)
        await confirm(terminal, options, async () => {
          const { keys } = await api().get<{ keys: KeyAnswer[] }>('/v1/keys')
          if (!keys.some((key) => key.id === id))
            throw failure({
              code: 'not_found',
              status: 404,
              detail: `there is no key ${named}`,
              remedy: 'List them with `tenure keys list`.',
            })
          return `Revoke the key ${named}, for its callers and its sessions?`
        })
        const answer = await api().delete<KeyAnswer | undefined>(path`/v1/keys/${id}`)
        terminal.answer(answer ?? { id }, `Revoked ${named}.`)
      },
    },
    rotateSigningCommand,
  ],
}

const namesIn = (list: string): string[] => list.split(',').map((name) => name.trim())

/** A key may be created before its model, so an unknown name is only a warning. */
async function warnOfUnknown(terminal: Terminal, client: Client, names: readonly string[]): Promise<void> {
  const { models } = await client.get<{ models: { name: string }[] }>('/v1/models')
  const known = models.map(({ name }) => name)
  const unknown = names.filter((name) => !known.includes(name))
  if (unknown.length > 0)
    terminal.say(
      `There is no model ${unknown.join(', ')} yet; the models are ${known.join(', ') || 'none'}. Revoke the key if a name is misspelt.`,
    )
}

function stateOf({ revoked_at: revokedAt, expires_at: expiresAt }: KeyAnswer): string {
  if (revokedAt !== undefined) return `revoked ${revokedAt}`
  return expiresAt !== undefined && Date.parse(expiresAt) <= Date.now() ? 'expired' : 'active'
}

/** Finds a key by its id, or an active key by its name. */
async function keyIdOf(client: Client, named: string): Promise<string> {
  const { keys } = await client.get<{ keys: KeyAnswer[] }>('/v1/keys')
  const isMeant = ({ id, name, revoked_at: revokedAt }: KeyAnswer) =>
    id === named || (name === named && revokedAt === undefined)
  return keys.find(isMeant)?.id ?? named
}

const shown = (key: string): string =>
  `${key}\n\nShown once. Use it as TENURE_KEY, or as "Authorization: Bearer <key>".`
