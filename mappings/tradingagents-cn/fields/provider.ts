// Model providers: the names the application knows, and the other names people gave them. Extend by `providers` in the configuration.

const known = [
  'openai',
  'anthropic',
  'zhipu',
  'tencent',
  'deepseek',
  'dashscope',
  'google',
  'siliconflow',
  'openrouter',
  'custom_openai',
  'qianfan',
  'local',
  '302ai',
  'oneapi',
  'newapi',
  'fastgpt',
  'custom_aggregator',
  'moonshot',
  'test',
];
const otherNames: Record<string, string> = {
  qwen: 'dashscope',
  alibaba: 'dashscope',
  通义千问: 'dashscope',
  gemini: 'google',
  claude: 'anthropic',
  glm: 'zhipu',
  baidu: 'qianfan',
  ernie: 'qianfan',
};
const names = new Map([...known.map((name) => [name, name] as const), ...Object.entries(otherNames)]);

/** The provider's one name, or undefined when neither known nor allowed by the configuration. */
export function providerName(text: string, allowed: readonly string[]): string | undefined {
  const exact = names.get(text);
  if (exact !== undefined) return exact;
  const name = text.normalize('NFKC').trim().toLowerCase();
  return names.get(name) ?? (allowed.includes(name) ? name : undefined);
}
