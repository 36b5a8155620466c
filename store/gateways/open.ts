/** Opens the gateway that a model file names. */
import type { Gateway, Traffic } from '../../domain/serving/gateway.ts'
import { createEndpointClient } from '../endpoint-client.ts'
import { openHaproxy } from './haproxy.ts'
import { openSagemaker } from './sagemaker.ts'

export interface GatewayAccess {
  /** The private hosts that gateways of model files may name. */
  privateHosts: readonly string[]
  /** The folder of secrets. */
  secrets: string
}

export function openGateway(traffic: Traffic, access: GatewayAccess): Gateway {
  switch (traffic.gateway) {
    case 'haproxy':
      return openHaproxy(traffic, access.privateHosts)
    case 'sagemaker':
      return openSagemaker(traffic, createEndpointClient(access).ask)
    default:
      return traffic satisfies never
  }
}
