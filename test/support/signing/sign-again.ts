/**
 * Signs texts one after another with the current key, as a replica does while the key is rotated. Stays at most a few texts ahead of the
 * thread that verifies them; on a busy machine that thread would otherwise fall behind without limit.
 */
import { once } from 'node:events'
import { parentPort } from 'node:worker_threads'
import { openSigner } from '../../../store/signing/signing-key.ts'

const [keys = '', trust = ''] = process.argv.slice(2)
const signer = await openSigner({ keys, trust }, 'replicas')
let ahead = 8
parentPort!.on('message', () => ahead++)
for (let count = 0; ; count++) {
  const text = `command ${count}`
  const signature = signer.sign(Buffer.from(text)).toString('base64')
  parentPort!.postMessage({ text, signature, publicPem: signer.publicPem })
  ahead--
  if (ahead === 0) await once(parentPort!, 'message')
  else await new Promise((resolve) => setTimeout(resolve, 1))
}
