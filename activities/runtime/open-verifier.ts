/** Opens the public keys that verify the signatures of users. */
import { openPublicKeys, type Verifier } from '../../store/signing/signing-key.ts'
import type { Deps } from '../deps.ts'

const opened = new Map<string, Verifier>()

/** The keys are read at each verification, so that a repaired or rotated key takes effect at once. */
export function openVerifier({ verifier, config }: Pick<Deps, 'verifier' | 'config'>): Verifier {
  if (verifier !== undefined) return verifier
  const { trust } = config.signing
  const known = opened.get(trust) ?? openPublicKeys(config.signing, 'commands')
  opened.set(trust, known)
  return known
}
