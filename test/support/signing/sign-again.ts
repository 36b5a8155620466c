/** Signs one text after another with the key that it finds, as a replica does while the key is rotated. */
import { parentPort } from 'node:worker_threads'
import { openSigner } from '../../../store/signing/signing-key.ts'

const [keys = '', trust = ''] = process.argv.slice(2)
const signer = await openSigner({ keys, trust }, 'commands')
for (let count = 0; ; count++) {
  const text = `command ${count}`
  const signature = signer.sign(Buffer.from(text)).toString('base64')
  parentPort?.postMessage({ text, signature, publicPem: signer.publicPem })
  await new Promise((resolve) => setTimeout(resolve, 1))
}
