/** Signs versions that no training workflow has produced, with the key that lies where a process would make its own. */
import { dirname, join } from 'node:path'
import { openSigner } from '../../../store/signing/signing-key.ts'
import { signArtifact, type ArtifactIdentity } from '../../../store/signing/artifact-signatures.ts'

/** For processes whose state is elsewhere: what TENURE_SIGNING_KEY must be for them. */
export const signingKeyOf = (artifactRoot: string): string =>
  join(dirname(artifactRoot), 'keys', 'signing.pem')

export async function signatureOf(artifactRoot: string, artifact: ArtifactIdentity): Promise<Buffer> {
  return signArtifact(await openSigner(signingKeyOf(artifactRoot)), artifact)
}
