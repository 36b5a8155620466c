/** `tenure keys rotate-signing`: replaces a signing key while the installation runs. */
import { setTimeout as sleep } from 'node:timers/promises'
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
import { usageError } from '../../client/client.ts'
import type { CommandSpec } from '../../program.ts'
import { orDash, time } from '../format.ts'
import { numberOption } from '../../number-option.ts'

const defaultOverlapS = defaultOverlapMs / 1_000
/** Versions are signed again after all running workers have read the new key and before the former key ends. */
const minArtifactOverlapMs = 60_000
const readMs = 1_000
const statementMs = 60_000

export const rotateSigningCommand: CommandSpec = {
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
  examples: ['keys rotate-signing commands', 'keys rotate-signing artifacts --prepare'],
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
            : `Signatures of the former key count until ${time(formerUntil)} (UTC).`,
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
