/** Opens the key that verifies what users have signed. It is read again after a failure, so that a repaired key file takes effect at once. */
import { openSigner, type Verifier } from '../../store/signing/signing-key.ts'
import type { Deps } from '../deps.ts'

const opened = new Map<string, Promise<Verifier>>()

export async function openVerifier({
  verifier,
  config,
}: Pick<Deps, 'verifier' | 'config'>): Promise<Verifier> {
  if (verifier !== undefined) return verifier
  const file = config.signingKey
  const known = opened.get(file)
  if (known !== undefined) return known
  const opening = openSigner(file)
  opened.set(file, opening)
  opening.catch(() => opened.delete(file))
  return opening
}
