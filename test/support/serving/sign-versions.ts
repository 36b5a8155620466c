/** Signs versions that no training workflow has produced, with the key that lies where a process would make its own. */
import { dirname, join } from 'node:path'
import { openSigner } from '../../../store/signing/signing-key.ts'
import { signArtifact, type ArtifactIdentity } from '../../../store/signing/artifact-signatures.ts'

/** For processes whose state is elsewhere: `keys` must be TENURE_KEYS for them. */
export const keyPlacesOf = (artifactRoot: string) => keyPlacesIn(join(dirname(artifactRoot), 'keys'))

export const keyPlacesIn = (keys: string) => ({
  keys,
  trust: join(keys, 'public'),
  subjectKey: join(keys, 'subjects.key'),
})

export async function signatureOf(artifactRoot: string, artifact: ArtifactIdentity): Promise<Buffer> {
  return signArtifact(await openSigner(keyPlacesOf(artifactRoot), 'artifacts'), artifact)
}
