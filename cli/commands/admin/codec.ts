/** `tenure codec`: lets Temporal's web UI and command line on this machine read encrypted payloads. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { environmentWith, readCommandConfig, readConfig } from '../../../temporal.config.ts'
import { usageError } from '../../client/client.ts'
import type { CommandSpec } from '../../program.ts'
import { numberOption } from '../../number-option.ts'

export const codecCommand: CommandSpec = {
  name: 'codec',
  summary: "Run a codec server until Ctrl-C: it decrypts payloads for Temporal's web pages and command line",
  options: [
    ['--ui <origin>', "Origin of Temporal's pages (default: those of `tenure up`)"],
    ['--port <port>', 'Port on loopback (default: any free one)'],
  ],
  examples: ['codec', 'codec --ui http://127.0.0.1:8233 --port 8088'],
  async run({ terminal }, { options }) {
    // Only the keys are read, so no database is needed.
    const { payloadKeys = [] } = readConfig(
      environmentWith({ DATABASE_URL: 'postgres://127.0.0.1/none' }),
    ).temporal
    if (payloadKeys.length === 0)
      throw usageError(
        'there is no key',
        'Set TENURE_PAYLOAD_KEYS or TENURE_PAYLOAD_KEYS_FILE as for the workers.',
      )
    const { ports } = readCommandConfig()
    const origin = String(options['ui'] ?? `http://127.0.0.1:${ports.temporalUi ?? 8233}`).replace(/\/+$/, '')
    if (!/^https?:\/\/[\w.-]+(:\d{1,5})?$/.test(origin))
      throw usageError(`--ui is an origin such as http://127.0.0.1:8233, not "${origin}"`)
    const port = numberOption(options, 'port', { min: 0, max: 65_535, whole: true }) ?? 0
    // Loaded by this command only: Temporal's message types would take half of the start time of every command, `node:http` a quarter.
    const { createCodecServer } = await import('../../codec/server.ts')
    const { createPayloadCodec } = await import('../../../workflows/client/payload-codec.ts')
    const token = randomBytes(24).toString('base64url')
    const server = createCodecServer({ codec: createPayloadCodec(payloadKeys), token, origin })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    terminal.answer(
      { endpoint, token, origin },
      `In Temporal's pages set the codec server to ${endpoint}/${token}\nFor its command line: --codec-endpoint ${endpoint} --codec-auth 'Bearer ${token}'`,
    )
    const stop = new AbortController()
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
    await once(stop.signal, 'abort')
    server.close()
    server.closeAllConnections()
  },
}
