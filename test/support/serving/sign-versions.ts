/** Signs versions that no training workflow has produced, with the key in the state directory. */
import { dirname, join } from 'node:path'
import { openSigner } from '../../../store/signing/signing-key.ts'
import { signArtifact, type ArtifactIdentity } from '../../../store/signing/artifact-signatures.ts'

/** Returns the key paths beside the artifact root. A process with another state directory needs `keys` as TENURE_KEYS. */
export const keyPlacesOf = (artifactRoot: string) => keyPlacesIn(join(dirname(artifactRoot), 'keys'))

export const keyPlacesIn = (keys: string) => ({
  keys,
  trust: join(keys, 'public'),
  subjectKey: join(keys, 'subjects.key'),
})

export async function signatureOf(artifactRoot: string, artifact: ArtifactIdentity): Promise<Buffer> {
  return signArtifact(await openSigner(keyPlacesOf(artifactRoot), 'artifacts'), artifact)
}
