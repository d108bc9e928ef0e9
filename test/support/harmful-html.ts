import { Parser } from "htmlparser2";

/** What of this HTML a browser would run, submit or load from elsewhere; empty for harmless HTML. */
export const harmfulIn = (html: string): string[] => {
  const found: string[] = [];
  const isHarmless: Readonly<Record<string, (value: string) => boolean>> = {
    src: (value) => /^(?:cid:|data:image\/(?:png|gif|jpe?g|webp|bmp);base64,)/i.test(value),
    href: (value) => !/^(?:javascript|vbscript|data):/i.test(value.replaceAll(/[\0-\x20]/g, "")),
    style: (value) => !/url|expression|\\/i.test(value),
  };
  const loads = /^(?:on.*|srcset|background|action|formaction|data|poster|xlink:href|srcdoc)$/;
  const elements = /^(?:script|style|link|meta|base|iframe|frame|object|embed|form|svg|math|video|audio|template|noscript)$/;
  const parser = new Parser({
    onopentag: (name, attributes) => {
      if (elements.test(name)) found.push(`<${name}>`);
      for (const [key, value] of Object.entries(attributes))
        if (loads.test(key) || isHarmless[key]?.(value) === false) found.push(`<${name} ${key}=${value}>`);
    },
  });
  parser.end(html);
  return found;
};
